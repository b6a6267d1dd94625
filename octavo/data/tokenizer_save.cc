// SPDX-License-Identifier: Apache-2.0
#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/data/bpe_train.h"
#include "octavo/data/tokenizer_json_write.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

// Token texts as the file has them: special tokens plain, all others in the printable alphabet.
std::vector<std::string> token_texts(const TrainedBpe& bpe) {
  std::vector<std::string> texts;
  for (size_t id = 0; id < bpe.tokens.size(); ++id)
    texts.push_back(id < bpe.special_tokens.size() ? bpe.tokens[id] : bytes_to_printable(bpe.tokens[id]));
  return texts;
}

OrderedJson pretokenizer(const std::string& pattern) {
  if (pattern.empty()) return byte_level(true);
  return pretokenizer_sequence(split_isolated(pattern), byte_level(false));
}

}  // namespace

void save_tokenizer_json(const TrainedBpe& bpe, const std::string& directory, const std::string& pattern) {
  const std::vector<std::string> texts = token_texts(bpe);
  OrderedJson vocab = OrderedJson::object(), merges = OrderedJson::array(), added = OrderedJson::array();
  OrderedJson decoder_tokens = OrderedJson::object();
  // ordered_json looks every key up linearly; the vocabulary is assembled as its own list of pairs instead.
  auto& entries = vocab.get_ref<OrderedJson::object_t&>();
  for (size_t id = 0; id < texts.size(); ++id) {
    static_cast<std::vector<std::pair<const std::string, OrderedJson>>&>(entries).emplace_back(texts[id], id);
    if (id >= bpe.special_tokens.size()) continue;
    OrderedJson token = added_token(texts[id], true);
    decoder_tokens[std::to_string(id)] = token;
    token["id"] = id;
    added.push_back(token);
  }
  for (const auto& [left, right] : bpe.merges) merges.push_back(texts[left] + " " + texts[right]);
  const OrderedJson file = tokenizer_json({.vocab = vocab,
                                           .merges = merges,
                                           .added_tokens = added,
                                           .pre_tokenizer = pretokenizer(pattern),
                                           .post_processor = byte_level(true)});
  OrderedJson config = {{"added_tokens_decoder", decoder_tokens},
                        {"clean_up_tokenization_spaces", false},
                        {"tokenizer_class", "PreTrainedTokenizerFast"}};
  if (!bpe.special_tokens.empty())
    for (const char* key : {"bos_token", "eos_token", "unk_token"}) config[key] = bpe.special_tokens.front();
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) fail_data("cannot create directory '" + directory + "': " + error.message());
  const auto write = [&](const char* name, const OrderedJson& json) {
    write_file_atomic((std::filesystem::path(directory) / name).string(), json.dump(1) + "\n");
  };
  write("tokenizer.json", file);
  write("tokenizer_config.json", config);
}

}  // namespace octavo
