// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/spm_tokenizer.h"

#include <fmt/format.h>

#include <map>

#include "octavo/base/error.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

constexpr std::string_view kMark = "\xE2\x96\x81";  // U+2581 stands for a space

// The value of a byte piece "<0x0A>", -1 for anything else.
int byte_value(const std::string& text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return -1;
  if (text.find_first_not_of("0123456789ABCDEFabcdef", 3) != 5) return -1;
  return static_cast<int>(std::stoul(text.substr(3, 2), nullptr, 16));
}

std::string shown_text(const Piece& piece) {
  if (piece.type == PieceType::byte) return std::string(1, static_cast<char>(byte_value(piece.text)));
  if (piece.type == PieceType::control) return "";
  std::string text;
  for (size_t at = 0; at < piece.text.size();) {
    const bool mark = piece.text.compare(at, kMark.size(), kMark) == 0;
    text += mark ? ' ' : piece.text[at];
    at += mark ? kMark.size() : 1;
  }
  return text;
}

Vocabulary make_vocabulary(const SpmParts& parts) {
  Vocabulary v;
  for (size_t i = 0; i < parts.pieces.size(); ++i) {
    const Piece& piece = parts.pieces[i];
    if (piece.type == PieceType::byte && byte_value(piece.text) < 0)
      fail_data(
          fmt::format("'{}': byte piece {} must look like <0x0A>, found '{}'", parts.name, i, piece.text));
    if (!v.ids.emplace(piece.text, static_cast<int32_t>(i)).second)
      fail_data(
          fmt::format("'{}': piece '{}' is there twice (second time as {})", parts.name, piece.text, i));
    v.text.push_back(piece.text);
    v.bytes.push_back(shown_text(piece));
    v.special.push_back(piece.type == PieceType::control || piece.type == PieceType::unknown);
  }
  const auto count = static_cast<int32_t>(parts.pieces.size());
  if (parts.unknown < 0 || parts.unknown >= count)
    fail_data(
        fmt::format("'{}': the unknown piece {} is outside the {} pieces", parts.name, parts.unknown, count));
  v.unknown = parts.unknown;
  if (parts.bos >= 0 && parts.bos < count) v.bos = parts.bos;
  if (parts.eos >= 0 && parts.eos < count) v.eos = parts.eos;
  v.adds_bos = v.bos.has_value();
  v.stripped_spaces = parts.add_dummy_prefix ? 1 : 0;
  return v;
}

}  // namespace

SpmTokenizer::SpmTokenizer(SpmParts parts) : Tokenizer(make_vocabulary(parts)), parts_(std::move(parts)) {
  byte_ids_.fill(-1);
  std::vector<std::string> texts;
  for (size_t i = 0; i < parts_.pieces.size(); ++i) {
    const Piece& piece = parts_.pieces[i];
    const auto id = static_cast<int32_t>(i);
    switch (piece.type) {
      case PieceType::byte:
        byte_ids_[byte_value(piece.text)] = id;
        break;
      case PieceType::control:
        control_.add({piece.text, id, true});
        break;
      case PieceType::unknown:
        break;
      case PieceType::user_defined:
        user_defined_.add({piece.text, id});
        [[fallthrough]];
      default:
        pieces_.emplace(piece.text, id), texts.push_back(piece.text);
    }
  }
  for (int b = 0; parts_.byte_fallback && b < 256; ++b)
    if (byte_ids_[b] < 0)
      fail_data(fmt::format("'{}': byte fallback lacks the piece <0x{:02X}>", parts_.name, b));
  cut_at_metaspace_ = pieces_.contains(kMark) && words_begin_at_metaspace(texts);
}

std::string SpmTokenizer::normalized(std::string_view text, bool prefix) const {
  const bool squeeze = parts_.remove_extra_spaces;
  if (squeeze) {
    while (text.starts_with(' ')) text.remove_prefix(1);
    while (text.ends_with(' ')) text.remove_suffix(1);
  }
  std::string result;
  if (text.empty()) return result;
  const std::string_view space = parts_.escape_spaces ? kMark : " ";
  if (prefix && parts_.add_dummy_prefix) result += space;
  bool after_space = false;
  for (const char c : text) {
    if (c != ' ') {
      result += c;
    } else if (!(squeeze && after_space)) {
      result += space;
    }
    after_space = c == ' ';
  }
  return result;
}

void SpmTokenizer::encode_to(std::string_view text, bool parse_special, std::vector<int32_t>& out) const {
  ScratchPool::Lease scratch(scratch_);
  const char* start = text.data();
  split_ill_formed(text, [&](std::string_view part, bool well_formed) {
    if (!well_formed) {
      emit_unknown(part, out);
      return;
    }
    bool prefix = part.data() == start;
    control_.split(part, parse_special, [&](std::string_view piece, int32_t id) {
      if (id >= 0) {
        out.push_back(id);
      } else {
        const std::string line = normalized(piece, prefix);
        if (cut_at_metaspace_) {
          split_metaspace_words(line, [&](std::string_view word) { encode_word(word, *scratch, out); });
        } else {
          encode_word(line, *scratch, out);
        }
      }
      prefix = true;
    });
  });
}

void SpmTokenizer::emit_unknown(std::string_view text, std::vector<int32_t>& out) const {
  if (parts_.byte_fallback) {
    for (const char c : text) out.push_back(byte_ids_[static_cast<uint8_t>(c)]);
  } else if (out.empty() || out.back() != parts_.unknown) {
    out.push_back(parts_.unknown);  // a run of unknown symbols is one token
  }
}

void SpmTokenizer::encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  if (word.size() > INT32_MAX) fail_unsupported("a word of 2 GiB or more cannot be tokenized");
  // Whether an unknown symbol makes a new token depends on what came before, so such words stay out of the
  // cache.
  if (const auto* ids = scratch.cache.find(word)) {
    out.insert(out.end(), ids->begin(), ids->end());
    return;
  }
  auto& symbols = scratch.symbols;
  symbols.clear();
  for (size_t at = 0; at < word.size();) {
    const AddedToken* whole = user_defined_.match(word, at, true);
    const size_t length = whole ? whole->content.size() : utf8_length(word, at);
    symbols.push_back(
        {static_cast<uint32_t>(at), static_cast<uint32_t>(length), -1, -1, -1, whole != nullptr});
    at += length;
  }
  // Unused pieces help joining but are taken apart again at the end: where, is noted here.
  std::map<std::string_view, size_t> seams;
  merge_symbols(symbols, [&](const Symbol& a, const Symbol& b) -> Join {
    const std::string_view joined = word.substr(a.begin, a.length + b.length);
    const auto found = pieces_.find(joined);
    if (found == pieces_.end()) return {};
    const Piece& piece = parts_.pieces[found->second];
    if (piece.type == PieceType::unused) seams[joined] = a.length;
    return {-static_cast<double>(piece.score), found->second};
  });
  const size_t before = out.size();
  bool cacheable = word.size() <= WordCache::kMaxWord;
  std::vector<std::string_view> stack;
  for (int32_t i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
    stack.push_back(word.substr(symbols[i].begin, symbols[i].length));
    while (!stack.empty()) {
      const std::string_view text = stack.back();
      stack.pop_back();
      const auto found = pieces_.find(text);
      const bool known = found != pieces_.end();
      const auto seam = seams.find(text);
      if (known && parts_.pieces[found->second].type == PieceType::unused && seam != seams.end()) {
        stack.push_back(text.substr(seam->second));
        stack.push_back(text.substr(0, seam->second));
      } else if (known) {
        out.push_back(found->second);
      } else {
        cacheable &= parts_.byte_fallback;
        emit_unknown(text, out);
      }
    }
  }
  if (cacheable) scratch.cache.add(word, out.data() + before, out.size() - before);
}

}  // namespace octavo
