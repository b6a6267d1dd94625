// SPDX-License-Identifier: Apache-2.0
// For the .cc files of this room only: the parts of a byte-level BPE's tokenizer.json.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace octavo {

using OrderedJson = nlohmann::ordered_json;

OrderedJson byte_level(bool use_regex);
/// Words are the matches of `regex` and what lies between them.
OrderedJson split_isolated(const std::string& regex);
/// One after the other.
OrderedJson pretokenizer_sequence(const OrderedJson& first, const OrderedJson& second);
/// A token that is found in text before words are made; `special` ones are hidden when decoding.
OrderedJson added_token(const std::string& content, bool special);

struct ByteLevelBpe {
  OrderedJson vocab, merges, added_tokens, pre_tokenizer, post_processor;
  bool ignore_merges = false;  ///< words that are tokens are taken whole
};
/// The whole file.
OrderedJson tokenizer_json(const ByteLevelBpe& bpe);

}  // namespace octavo
