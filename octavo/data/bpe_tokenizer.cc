// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/bpe_tokenizer.h"

#include <fmt/format.h>

#include "octavo/base/error.h"
#include "octavo/data/utf8.h"

namespace octavo {

BpeTokenizer::BpeTokenizer(BpeParts parts)
    : Tokenizer(std::move(parts.vocabulary)), parts_(std::move(parts)) {
  const Vocabulary& v = vocabulary();
  std::vector<std::string> model_tokens;
  for (int32_t id = 0; id < vocab_size(); ++id) {
    if (!parts_.in_model[id]) continue;
    model_ids_.emplace(key_of(id), id);
    if (!v.special[id]) model_tokens.push_back(v.text[id]);
  }
  for (int b = 0; b < 256; ++b) {
    const std::string key =
        parts_.byte_level ? std::string(1, static_cast<char>(b)) : fmt::format("<0x{:02X}>", b);
    const auto found = model_ids_.find(key);
    byte_ids_[b] = found == model_ids_.end() ? -1 : found->second;
  }
  cut_at_metaspace_ = !parts_.byte_level && parts_.pretokenizer.empty() &&
                      model_ids_.contains("\xE2\x96\x81") && words_begin_at_metaspace(model_tokens);
}

const std::string& BpeTokenizer::key_of(int32_t id) const {
  return parts_.byte_level ? vocabulary().bytes[id] : vocabulary().text[id];
}

void BpeTokenizer::encode_to(std::string_view text, bool parse_special, std::vector<int32_t>& out) const {
  ScratchPool::Lease scratch(scratch_);
  const char* start = text.data();
  split_ill_formed(text, [&](std::string_view piece, bool well_formed) {
    if (well_formed) {
      encode_piece(piece, piece.data() == start, parse_special, *scratch, out);
    } else {
      encode_word(piece, *scratch, out);
    }
  });
}

void BpeTokenizer::encode_piece(std::string_view text, bool at_start, bool parse_special, BpeScratch& scratch,
                                std::vector<int32_t>& out) const {
  const PreTokenizer::Sink word_sink = [&](std::string_view word) {
    if (cut_at_metaspace_) {
      split_metaspace_words(word, [&](std::string_view part) { encode_word(part, scratch, out); });
    } else {
      encode_word(word, scratch, out);
    }
  };
  bool first = true;
  parts_.raw_tokens.split(text, parse_special, [&](std::string_view raw, int32_t raw_id) {
    // A piece that follows ill-formed bytes goes on with a text: nothing is put before it.
    const PreTokenizer::Place place{first && at_start, at_start || !first};
    first = false;
    if (raw_id >= 0) {
      out.push_back(raw_id);
      return;
    }
    std::string changed;
    if (!parts_.normalizer.empty()) {
      changed = parts_.normalizer.apply(raw, place.may_prepend);
      raw = changed;
    }
    PreTokenizer::Place inner = place;
    parts_.normalized_tokens.split(raw, parse_special, [&](std::string_view piece, int32_t id) {
      if (id >= 0) {
        out.push_back(id);
      } else {
        parts_.pretokenizer.split(piece, inner, word_sink);
      }
      inner = {false, true};
    });
  });
}

void BpeTokenizer::encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const {
  const bool cached = word.size() <= WordCache::kMaxWord;
  if (cached) {
    if (const auto* ids = scratch.cache.find(word)) {
      out.insert(out.end(), ids->begin(), ids->end());
      return;
    }
  }
  const size_t before = out.size();
  const auto whole = parts_.ignore_merges ? model_ids_.find(word) : model_ids_.end();
  if (whole != model_ids_.end()) {
    out.push_back(whole->second);
  } else {
    make_symbols(word, scratch.symbols);
    merge_symbols(scratch.symbols,
                  [&](const Symbol& a, const Symbol& b) { return parts_.merges.find(a.id, b.id); });
    for (int32_t i = scratch.symbols.empty() ? -1 : 0; i >= 0; i = scratch.symbols[i].next)
      out.push_back(scratch.symbols[i].id);
  }
  if (cached) scratch.cache.add(word, out.data() + before, out.size() - before);
}

bool BpeTokenizer::fall_back_to_bytes(std::string_view word, size_t begin, size_t length,
                                      std::vector<Symbol>& symbols) const {
  for (size_t i = begin; i < begin + length; ++i)
    if (byte_ids_[static_cast<uint8_t>(word[i])] < 0) return false;
  for (size_t i = begin; i < begin + length; ++i)
    symbols.push_back({static_cast<uint32_t>(i), 1, byte_ids_[static_cast<uint8_t>(word[i])]});
  return true;
}

void BpeTokenizer::make_symbols(std::string_view word, std::vector<Symbol>& symbols) const {
  if (word.size() > INT32_MAX) fail_unsupported("a word of 2 GiB or more cannot be tokenized");
  symbols.clear();
  uint32_t unknown_begin = 0, unknown_length = 0;
  const auto flush_unknown = [&] {
    if (unknown_length > 0) symbols.push_back({unknown_begin, unknown_length, *vocabulary().unknown});
    unknown_length = 0;
  };
  for (size_t at = 0; at < word.size();) {
    const size_t length = parts_.byte_level ? 1 : std::max<size_t>(1, utf8_length(word, at));
    int32_t id = -1;
    if (parts_.byte_level) {
      id = byte_ids_[static_cast<uint8_t>(word[at])];
    } else if (const auto found = model_ids_.find(word.substr(at, length)); found != model_ids_.end()) {
      id = found->second;
    }
    if (id >= 0) {
      flush_unknown();
      symbols.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(length), id});
    } else if (parts_.byte_fallback && fall_back_to_bytes(word, at, length, symbols)) {
      // Unknown symbols still waiting come after these bytes; the format's reference implementation has it
      // so.
    } else {
      if (!unknown())
        fail_data(fmt::format("tokenizer '{}' has no token for byte 0x{:02X} and no unknown token",
                              parts_.name, static_cast<uint8_t>(word[at])));
      if (!parts_.fuse_unknown) flush_unknown();
      if (unknown_length == 0) unknown_begin = static_cast<uint32_t>(at);
      unknown_length += static_cast<uint32_t>(length);
    }
    at += length;
  }
  flush_unknown();
}

}  // namespace octavo
