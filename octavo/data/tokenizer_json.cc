// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/tokenizer_json.h"

#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/data/bpe_tokenizer.h"
#include "octavo/data/json_reading.h"
#include "octavo/data/tokenizer_readers.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

// How the file turns tokens back into text.
struct Decoding {
  bool byte_level = false;
  bool byte_fallback = false;
  std::vector<std::pair<std::string, std::string>> replacements;
  int stripped_spaces = 0;
};

class Reader {
 public:
  explicit Reader(const std::string& path) : where_("'" + path + "'"), file_(read_json(path)) {
    parts_.name = path;
    read_model();
    read_added_ids();
    if (const Json* n = maybe(file_, "normalizer", "object", where_)) read_normalizer(*n);
    if (const Json* p = maybe(file_, "pre_tokenizer", "object", where_)) read_pretokenizer(*p, true);
    if (const Json* d = maybe(file_, "decoder", "object", where_)) read_decoder(*d);
    decoding_.byte_level |= parts_.byte_level;
    register_added_tokens();
    fill_bytes();
    if (const Json* p = maybe(file_, "post_processor", "object", where_)) read_post_processor(*p);
    find_text_ends(parts_.vocabulary, std::filesystem::path(path).parent_path().string());
  }

  std::unique_ptr<Tokenizer> take() { return std::make_unique<BpeTokenizer>(std::move(parts_)); }

 private:
  [[noreturn]] void unsupported(const std::string& part, const std::string& name) const {
    fail_unsupported(fmt::format("{}: {} '{}' is not supported", where_, part, name));
  }

  void read_model() {
    const Json& model = need(file_, "model", "object", where_);
    const std::string where = where_ + " model";
    const std::string type = maybe_string(model, "type", "BPE", where);
    if (type != "BPE") unsupported("model type", type);
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"})
      if (!maybe_string(model, key, "", where).empty()) unsupported("model option", key);
    if (const Json* dropout = maybe(model, "dropout", "number", where);
        dropout && dropout->get<double>() != 0)
      unsupported("model option", "dropout");
    parts_.byte_fallback = maybe_bool(model, "byte_fallback", false, where);
    parts_.fuse_unknown = maybe_bool(model, "fuse_unk", false, where);
    parts_.ignore_merges = maybe_bool(model, "ignore_merges", false, where);
    const Json& vocab = need(model, "vocab", "object", where);
    if (vocab.empty()) fail_data(where + ": key 'vocab' is empty");
    // Ids may have gaps, but not so many that a hostile file makes us reserve gigabytes.
    max_id_ = static_cast<int64_t>(vocab.size()) * 2 + 65536;
    for (const auto& [token, id] : vocab.items()) {
      if (!id.is_number_integer())
        fail_data(fmt::format("{}: the id of token '{}' is not an integer", where, token));
      place(token, id.get<int64_t>(), true);
    }
    if (const std::string unknown = maybe_string(model, "unk_token", "", where); !unknown.empty()) {
      const auto found = parts_.vocabulary.ids.find(unknown);
      if (found == parts_.vocabulary.ids.end())
        fail_data(fmt::format("{}: unk_token '{}' is not in the vocabulary", where, unknown));
      parts_.vocabulary.unknown = found->second;
    }
    read_merges(need(model, "merges", "array", where), where);
  }

  void place(const std::string& token, int64_t id, bool in_model) {
    Vocabulary& v = parts_.vocabulary;
    if (id < 0 || id > max_id_)
      fail_data(fmt::format("{}: token '{}' has the id {}, expected 0..{}", where_, token, id, max_id_));
    const auto index = static_cast<size_t>(id);
    if (index >= v.text.size()) {
      v.text.resize(index + 1);
      v.special.resize(index + 1);
      parts_.in_model.resize(index + 1);
      used_.resize(index + 1);
    }
    if (used_[index] && v.text[index] != token)
      fail_data(
          fmt::format("{}: tokens '{}' and '{}' have the same id {}", where_, v.text[index], token, id));
    const auto [entry, fresh] = v.ids.emplace(token, static_cast<int32_t>(id));
    if (!fresh && entry->second != id)
      fail_data(fmt::format("{}: token '{}' has two ids, {} and {}", where_, token, entry->second, id));
    used_[index] = true;
    v.text[index] = token;
    if (in_model) parts_.in_model[index] = true;
  }

  void read_merges(const Json& merges, const std::string& where) {
    const TokenMap& ids = parts_.vocabulary.ids;
    parts_.merges.reserve(merges.size());
    int32_t rank = 0;
    for (const Json& merge : merges) {
      std::string left, right;
      if (merge.is_string()) {
        const auto& text = merge.get_ref<const std::string&>();
        const size_t space = text.find(' ');
        if (space != std::string::npos) left = text.substr(0, space), right = text.substr(space + 1);
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        left = merge[0].get<std::string>(), right = merge[1].get<std::string>();
      }
      if (left.empty() || right.empty())
        fail_data(fmt::format("{}: merge {} must be \"a b\" or [\"a\", \"b\"]", where, rank));
      const auto l = ids.find(left), r = ids.find(right), joined = ids.find(left + right);
      for (const auto& [found, name] : {std::pair{l, left}, {r, right}, {joined, left + right}})
        if (found == ids.end())
          fail_data(fmt::format("{}: merge {} needs the token '{}', which is not in the vocabulary", where,
                                rank, name));
      parts_.merges.add(l->second, r->second, rank++, joined->second);
    }
  }

  void read_added_ids() {
    const Json* list = maybe(file_, "added_tokens", "array", where_);
    if (!list) return;
    max_id_ += static_cast<int64_t>(list->size()) * 2;
    for (const Json& entry : *list) {
      const std::string where = where_ + " added_tokens";
      const std::string content = need_string(entry, "content", where);
      int64_t id = need_integer(entry, "id", 0, max_id_, where);
      if (const auto known = parts_.vocabulary.ids.find(content); known != parts_.vocabulary.ids.end())
        id = known->second;  // the model's own id wins
      place(content, id, false);
      added_[static_cast<int32_t>(id)] = true;
      parts_.vocabulary.special[id] = maybe_bool(entry, "special", false, where);
    }
  }

  void read_normalizer(const Json& n) {
    const std::string where = where_ + " normalizer", type = need_string(n, "type", where);
    TextNormalizer& out = parts_.normalizer;
    using Form = TextNormalizer::Form;
    if (type == "Sequence") {
      for (const Json& step : need(n, "normalizers", "array", where)) read_normalizer(step);
    } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
      out.add_form(type == "NFC"    ? Form::nfc
                   : type == "NFD"  ? Form::nfd
                   : type == "NFKC" ? Form::nfkc
                                    : Form::nfkd);
    } else if (type == "Prepend") {
      out.add_prepend(need_string(n, "prepend", where));
    } else if (type == "Replace") {
      out.add_replace(read_pattern(n, where), need_string(n, "content", where));
    } else {
      unsupported("normalizer", type);
    }
  }

  Regex read_pattern(const Json& object, const std::string& where) const {
    const Json& pattern = need(object, "pattern", "object", where);
    if (pattern.contains("Regex")) return Regex(need_string(pattern, "Regex", where), false, where);
    return Regex(need_string(pattern, "String", where), true, where);
  }

  // `last`: nothing follows this stage. Bytes are only mapped by a ByteLevel at the end, so it must stand
  // there.
  void read_pretokenizer(const Json& p, bool last) {
    const std::string where = where_ + " pre_tokenizer", type = need_string(p, "type", where);
    PreTokenizer& out = parts_.pretokenizer;
    using Behavior = PreTokenizer::Behavior;
    if (type == "Sequence") {
      const Json& list = need(p, "pretokenizers", "array", where);
      for (size_t i = 0; i < list.size(); ++i) read_pretokenizer(list[i], last && i + 1 == list.size());
    } else if (type == "ByteLevel") {
      if (!last) unsupported("pre_tokenizer", "ByteLevel before another stage");
      parts_.byte_level = true;
      if (maybe_bool(p, "add_prefix_space", true, where)) out.add_prefix_space();
      if (maybe_bool(p, "use_regex", true, where))
        out.add_split(Regex(kGpt2Pattern, false, where), Behavior::isolated, false);
    } else if (type == "Split") {
      const std::string name = need_string(p, "behavior", where);
      const std::pair<const char*, Behavior> behaviors[] = {
          {"Removed", Behavior::removed},
          {"Isolated", Behavior::isolated},
          {"MergedWithPrevious", Behavior::merged_with_previous},
          {"MergedWithNext", Behavior::merged_with_next},
          {"Contiguous", Behavior::contiguous}};
      for (const auto& [known, behavior] : behaviors)
        if (name == known) {
          out.add_split(read_pattern(p, where), behavior, maybe_bool(p, "invert", false, where));
          return;
        }
      unsupported("Split behavior", name);
    } else if (type == "Digits") {
      const bool single = maybe_bool(p, "individual_digits", false, where);
      out.add_split(Regex(single ? "\\p{N}" : "\\p{N}+", false, where), Behavior::isolated, false);
    } else if (type == "Metaspace") {
      const bool prefix = maybe_bool(p, "add_prefix_space", true, where);
      const std::string scheme = maybe_string(p, "prepend_scheme", prefix ? "always" : "never", where);
      if (scheme != "always" && scheme != "never" && scheme != "first") unsupported("prepend_scheme", scheme);
      using Prepend = PreTokenizer::Prepend;
      out.add_metaspace(need_string(p, "replacement", where),
                        scheme == "always"  ? Prepend::always
                        : scheme == "first" ? Prepend::first
                                            : Prepend::never,
                        maybe_bool(p, "split", true, where));
    } else {
      unsupported("pre_tokenizer", type);
    }
  }

  void read_decoder(const Json& d) {
    const std::string where = where_ + " decoder", type = need_string(d, "type", where);
    if (type == "Sequence") {
      for (const Json& step : need(d, "decoders", "array", where)) read_decoder(step);
    } else if (type == "ByteLevel") {
      decoding_.byte_level = true;
    } else if (type == "ByteFallback") {
      decoding_.byte_fallback = true;
    } else if (type == "Fuse") {
      // Bytes are always joined here.
    } else if (type == "Replace") {
      const Json& pattern = need(d, "pattern", "object", where);
      if (!pattern.contains("String")) unsupported("decoder", "Replace with a regular expression");
      const std::string from = need_string(pattern, "String", where);
      if (!from.empty()) decoding_.replacements.emplace_back(from, need_string(d, "content", where));
    } else if (type == "Strip") {
      if (need_string(d, "content", where) != " " || need_integer(d, "stop", 0, 1000, where) != 0)
        unsupported("decoder", "Strip of anything but leading spaces");
      decoding_.stripped_spaces = static_cast<int>(need_integer(d, "start", 0, 1000, where));
    } else if (type == "Metaspace") {
      const bool prefix = maybe_bool(d, "add_prefix_space", true, where);
      decoding_.replacements.emplace_back(need_string(d, "replacement", where), " ");
      decoding_.stripped_spaces =
          maybe_string(d, "prepend_scheme", prefix ? "always" : "never", where) != "never";
    } else {
      unsupported("decoder", type);
    }
  }

  void register_added_tokens() {
    const Json* list = maybe(file_, "added_tokens", "array", where_);
    if (!list) return;
    for (const Json& entry : *list) {
      const std::string where = where_ + " added_tokens";
      AddedToken token{need_string(entry, "content", where)};
      token.id = parts_.vocabulary.ids.at(token.content);
      token.special = maybe_bool(entry, "special", false, where);
      token.lstrip = maybe_bool(entry, "lstrip", false, where);
      token.rstrip = maybe_bool(entry, "rstrip", false, where);
      token.single_word = maybe_bool(entry, "single_word", false, where);
      if (!maybe_bool(entry, "normalized", !token.special, where)) {
        parts_.raw_tokens.add(token);
      } else {
        // The token is looked for in normalized text, so it is normalized like text.
        token.content = parts_.normalizer.apply(token.content, true);
        parts_.normalized_tokens.add(token);
      }
    }
  }

  void fill_bytes() {
    Vocabulary& v = parts_.vocabulary;
    v.stripped_spaces = decoding_.stripped_spaces;
    v.bytes.resize(v.text.size());
    for (size_t id = 0; id < v.text.size(); ++id) {
      std::string text = v.text[id];
      if (added_.contains(static_cast<int32_t>(id))) {
        v.bytes[id] = text;
        continue;
      }
      if (decoding_.byte_level) {
        v.bytes[id] = printable_to_bytes(text).value_or(text);
        continue;
      }
      for (const auto& [from, to] : decoding_.replacements)
        for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
          text.replace(at, from.size(), to);
      if (decoding_.byte_fallback && text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
          text.find_first_not_of("0123456789abcdefABCDEF", 3) == 5) {
        text.assign(1, static_cast<char>(std::stoul(text.substr(3, 2), nullptr, 16)));
      }
      v.bytes[id] = text;
    }
  }

  void read_post_processor(const Json& p) {
    const std::string where = where_ + " post_processor", type = need_string(p, "type", where);
    if (type == "Sequence") {
      for (const Json& step : need(p, "processors", "array", where)) read_post_processor(step);
    } else if (type == "ByteLevel") {
      // Concerns offsets only.
    } else if (type == "TemplateProcessing") {
      Vocabulary& v = parts_.vocabulary;
      bool before = true;
      for (const Json& item : need(p, "single", "array", where)) {
        if (maybe(item, "Sequence", "object", where)) before = false;
        const Json* special = maybe(item, "SpecialToken", "object", where);
        if (!special) continue;
        const std::string name = need_string(*special, "id", where);
        const auto found = v.ids.find(name);
        if (found == v.ids.end())
          fail_data(fmt::format("{}: token '{}' is not in the vocabulary", where, name));
        if (before && v.bos)
          unsupported("post_processor", "TemplateProcessing with several tokens before the text");
        if (before) v.bos = found->second, v.adds_bos = true;
      }
    } else {
      unsupported("post_processor", type);
    }
  }

  std::string where_;
  Json file_;
  BpeParts parts_;
  Decoding decoding_;
  std::vector<bool> used_;
  std::unordered_map<int32_t, bool> added_;
  int64_t max_id_ = 0;
};

}  // namespace

void find_text_ends(Vocabulary& vocabulary, const std::string& directory) {
  const auto by_name = [&](const std::string& name, std::optional<int32_t>& id) {
    if (const auto found = vocabulary.ids.find(name); !id && found != vocabulary.ids.end())
      id = found->second;
  };
  std::optional<int32_t> bos = vocabulary.bos, eos = vocabulary.eos;
  const std::string path = (std::filesystem::path(directory) / "tokenizer_config.json").string();
  if (std::filesystem::exists(path)) {
    const Json config = read_json(path);
    const std::string where = "'" + path + "'";
    const auto named = [&](const char* key, std::optional<int32_t>& id) {
      const Json* value = maybe(config, key, "", where);
      if (value && value->is_object()) value = maybe(*value, "content", "", where);
      if (value && value->is_string()) by_name(value->get<std::string>(), id);
    };
    named("bos_token", bos);
    named("eos_token", eos);
  }
  for (const char* name : {"<s>", "<|begin_of_text|>", "<|startoftext|>", "<bos>"}) by_name(name, bos);
  for (const char* name : {"</s>", "<|end_of_text|>", "<|endoftext|>", "<eos>"}) by_name(name, eos);
  vocabulary.bos = bos;
  vocabulary.eos = eos;
}

std::unique_ptr<Tokenizer> read_tokenizer_json(const std::string& path) { return Reader(path).take(); }

}  // namespace octavo
