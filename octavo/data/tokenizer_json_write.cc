// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/tokenizer_json_write.h"

namespace octavo {

OrderedJson byte_level(bool use_regex) {
  return {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", use_regex}};
}

OrderedJson split_isolated(const std::string& regex) {
  return {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}};
}

OrderedJson pretokenizer_sequence(const OrderedJson& first, const OrderedJson& second) {
  return {{"type", "Sequence"}, {"pretokenizers", OrderedJson::array({first, second})}};
}

OrderedJson added_token(const std::string& content, bool special) {
  return {{"content", content}, {"single_word", false}, {"lstrip", false},
          {"rstrip", false},    {"normalized", false},  {"special", special}};
}

OrderedJson tokenizer_json(const ByteLevelBpe& bpe) {
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", bpe.added_tokens},
          {"normalizer", nullptr},
          {"pre_tokenizer", bpe.pre_tokenizer},
          {"post_processor", bpe.post_processor},
          {"decoder", byte_level(true)},
          {"model",
           {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", bpe.ignore_merges},
            {"vocab", bpe.vocab},
            {"merges", bpe.merges}}}};
}

}  // namespace octavo
