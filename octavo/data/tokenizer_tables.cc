// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/tokenizer_tables.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <set>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/quote_name.h"
#include "octavo/data/json_reading.h"
#include "octavo/data/spm_tokenizer.h"
#include "octavo/data/tokenizer_json_write.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

// Llama 3's words: contractions, letters with one sign before them, up to three digits, signs, line ends,
// spaces.
const char* const kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

enum class Words { gpt2, digits_then_gpt2, llama3 };
struct PreName {
  const char* name;
  Words words;
};
// llama.cpp's names (llama-vocab.cpp), those whose rule a published tokenizer.json confirms.
constexpr PreName kPreNames[] = {
    {"gpt-2", Words::gpt2},
    {"smollm", Words::digits_then_gpt2},
    {"starcoder", Words::digits_then_gpt2},
    {"refact", Words::digits_then_gpt2},
    {"llama-bpe", Words::llama3},
    {"llama3", Words::llama3},
    {"llama-v3", Words::llama3},
};

Words words_of(const TokenizerTables& t) {
  for (const PreName& known : kPreNames)
    if (t.pre == known.name) return known.words;
  fail_unsupported(
      fmt::format("'{}': the pre-tokenizer {} (tokenizer.ggml.pre) is not supported; known: {}. Give the "
                  "model's own tokenizer with --tokenizer",
                  t.source, quote_name(t.pre), known_pretokenizers()));
}

PieceType type_of(const TokenizerTables& t, size_t id) {
  return t.types.empty() ? PieceType::normal : static_cast<PieceType>(t.types[id]);
}

void check(const TokenizerTables& t) {
  const auto fail = [&](const std::string& what) { fail_data(fmt::format("'{}': {}", t.source, what)); };
  if (t.tokens.empty()) fail("the tokenizer has no tokens (tokenizer.ggml.tokens)");
  if (!t.types.empty() && t.types.size() != t.tokens.size())
    fail(fmt::format("there are {} token types for {} tokens", t.types.size(), t.tokens.size()));
  std::set<std::string_view> seen;
  for (size_t id = 0; id < t.tokens.size(); ++id) {
    const std::string_view token = t.tokens[id];
    if (utf8_valid_prefix(token) != token.size()) fail(fmt::format("token {} is not valid UTF-8", id));
    if (!t.types.empty() && (t.types[id] < 1 || t.types[id] > 6))
      fail(fmt::format("token {} has the unknown type {}", id, t.types[id]));
    if (!seen.insert(token).second)
      fail(fmt::format("token {} is there twice (second time as {})", quote_name(token), id));
  }
  for (const auto& [name, id] :
       {std::pair("bos", t.bos), {"eos", t.eos}, {"unknown", t.unknown}, {"padding", t.padding}})
    if (id && (*id < 0 || *id >= static_cast<int64_t>(t.tokens.size())))
      fail(fmt::format("the {} token {} is outside the {} tokens", name, *id, t.tokens.size()));
}

std::string token_at(const TokenizerTables& t, const std::optional<int64_t>& id) {
  return std::string(t.tokens[static_cast<size_t>(*id)]);
}

OrderedJson pretokenizer(Words words) {
  switch (words) {
    case Words::gpt2:
      return byte_level(true);
    case Words::digits_then_gpt2:
      return pretokenizer_sequence({{"type", "Digits"}, {"individual_digits", true}}, byte_level(true));
    case Words::llama3:
      break;
  }
  return pretokenizer_sequence(split_isolated(kLlama3Pattern), byte_level(false));
}

OrderedJson post_processor(const TokenizerTables& t) {
  if (!t.add_bos || !t.bos) return byte_level(true);
  const std::string bos = token_at(t, t.bos);
  const OrderedJson first = {{"SpecialToken", {{"id", bos}, {"type_id", 0}}}};
  const auto sequence = [](const char* id, int type) -> OrderedJson {
    return {{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  return {
      {"type", "TemplateProcessing"},
      {"single", OrderedJson::array({first, sequence("A", 0)})},
      {"pair", OrderedJson::array({first, sequence("A", 0), sequence("B", 1)})},
      {"special_tokens",
       {{bos, {{"id", bos}, {"ids", OrderedJson::array({*t.bos})}, {"tokens", OrderedJson::array({bos})}}}}}};
}

/// Tokens that are found in text before words are made; special ones are hidden when decoding.
OrderedJson added_tokens(const TokenizerTables& t) {
  OrderedJson list = OrderedJson::array();
  for (size_t id = 0; id < t.tokens.size(); ++id) {
    const PieceType type = type_of(t, id);
    const bool special = type == PieceType::control || type == PieceType::unknown;
    if (!special && type != PieceType::user_defined) continue;
    OrderedJson token = {{"id", id}};
    token.update(added_token(std::string(t.tokens[id]), special));
    list.push_back(token);
  }
  return list;
}

OrderedJson byte_level_bpe(const TokenizerTables& t) {
  const Words words = words_of(t);
  OrderedJson vocab = OrderedJson::object(), merges = OrderedJson::array();
  // ordered_json looks every key up linearly; the vocabulary is assembled as its own list of pairs instead.
  auto& entries = static_cast<std::vector<std::pair<const std::string, OrderedJson>>&>(
      vocab.get_ref<OrderedJson::object_t&>());
  for (size_t id = 0; id < t.tokens.size(); ++id) entries.emplace_back(std::string(t.tokens[id]), id);
  for (size_t i = 0; i < t.merges.size(); ++i) {
    if (utf8_valid_prefix(t.merges[i]) != t.merges[i].size())
      fail_data(fmt::format("'{}': merge {} is not valid UTF-8", t.source, i));
    merges.push_back(t.merges[i]);
  }
  return tokenizer_json({.vocab = vocab,
                         .merges = merges,
                         .added_tokens = added_tokens(t),
                         .pre_tokenizer = pretokenizer(words),
                         .post_processor = post_processor(t),
                         .ignore_merges = words == Words::llama3});
}

/// Writes one protobuf message; negative numbers take ten bytes, as the format wants them.
class MessageWriter {
 public:
  void number(int field, int64_t value) {
    varint(static_cast<uint64_t>(field) << 3);
    varint(static_cast<uint64_t>(value));
  }
  void bytes(int field, std::string_view value) {
    varint(static_cast<uint64_t>(field) << 3 | 2);
    varint(value.size());
    text_ += value;
  }
  void real(int field, float value) {
    varint(static_cast<uint64_t>(field) << 3 | 5);
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  const std::string& text() const { return text_; }

 private:
  void varint(uint64_t value) {
    for (; value >= 128; value >>= 7) text_ += static_cast<char>(value | 128);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

/// sentencepiece_model.proto's ModelProto.
std::string sentencepiece_model(const TokenizerTables& t) {
  if (t.scores.size() != t.tokens.size() || t.types.size() != t.tokens.size())
    fail_data(fmt::format("'{}': {} tokens need as many scores and types, found {} and {}", t.source,
                          t.tokens.size(), t.scores.size(), t.types.size()));
  MessageWriter model;
  int64_t bytes = 0, unknown = t.unknown.value_or(-1);
  for (size_t id = 0; id < t.tokens.size(); ++id) {
    if (t.tokens[id].empty() || std::isnan(t.scores[id]))
      fail_data(fmt::format("'{}': token {} needs a text and a score", t.source, id));
    const PieceType type = type_of(t, id);
    bytes += type == PieceType::byte;
    if (type == PieceType::unknown && unknown < 0) unknown = static_cast<int64_t>(id);
    MessageWriter piece;
    piece.bytes(1, t.tokens[id]);
    piece.real(2, t.scores[id]);
    piece.number(3, static_cast<int64_t>(type));
    model.bytes(1, piece.text());
  }
  MessageWriter trainer;
  trainer.number(3, 2);  // BPE
  trainer.number(35, bytes == 256);
  trainer.number(40, std::max<int64_t>(unknown, 0));
  trainer.number(41, t.add_bos ? t.bos.value_or(-1) : -1);
  trainer.number(42, t.eos.value_or(-1));
  trainer.number(43, -1);
  model.bytes(2, trainer.text());
  MessageWriter normalizer;
  normalizer.bytes(1, "identity");
  normalizer.number(3, t.add_space_prefix);
  normalizer.number(4, 0);
  normalizer.number(5, 1);
  model.bytes(3, normalizer.text());
  return model.text();
}

}  // namespace

std::string known_pretokenizers() {
  std::string names;
  for (const PreName& known : kPreNames) names += (names.empty() ? "" : ", ") + std::string(known.name);
  return names;
}

void save_tokenizer_tables(const TokenizerTables& t, const std::string& directory) {
  check(t);
  const bool bpe = t.model == "gpt2";
  if (bpe) {
    write_file_atomic(directory + "/tokenizer.json", byte_level_bpe(t).dump(1) + "\n");
  } else if (t.model == "llama") {
    write_file_atomic(directory + "/tokenizer.model", sentencepiece_model(t));
  } else {
    fail_unsupported(
        fmt::format("'{}': the tokenizer {} (tokenizer.ggml.model) is not supported; gpt2 and llama are",
                    t.source, quote_name(t.model)));
  }
  OrderedJson config = {{"clean_up_tokenization_spaces", false},
                        {"tokenizer_class", bpe ? "PreTrainedTokenizerFast" : "LlamaTokenizer"}};
  if (!bpe) config["add_bos_token"] = t.add_bos;
  for (const auto& [key, id] : {std::pair("bos_token", t.bos),
                                {"eos_token", t.eos},
                                {"unk_token", t.unknown},
                                {"pad_token", t.padding}})
    if (id) config[key] = token_at(t, id);
  if (!t.chat_template.empty() && utf8_valid_prefix(t.chat_template) == t.chat_template.size())
    config["chat_template"] = t.chat_template;
  write_file_atomic(directory + "/tokenizer_config.json", config.dump(1) + "\n");
}

}  // namespace octavo
