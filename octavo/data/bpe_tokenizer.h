// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <string>
#include <vector>

#include "octavo/data/added_tokens.h"
#include "octavo/data/bpe_merge.h"
#include "octavo/data/pretokenizer.h"
#include "octavo/data/text_normalizer.h"
#include "octavo/data/tokenizer.h"

namespace octavo {

/// Everything a BPE tokenizer is made of. The readers fill it.
struct BpeParts {
  Vocabulary vocabulary;
  std::vector<bool> in_model;  ///< by id: the token belongs to the BPE model (added tokens need not)
  MergeTable merges;
  TextNormalizer normalizer;
  PreTokenizer pretokenizer;
  AddedTokens raw_tokens;         ///< found in the text as it is
  AddedTokens normalized_tokens;  ///< found after the normalizer
  bool byte_level = false;        ///< symbols are bytes; otherwise they are characters
  bool byte_fallback = false;     ///< a character without a token becomes tokens <0x..>
  bool fuse_unknown = false;      ///< neighbouring unknown symbols become one token
  bool ignore_merges = false;     ///< a word that is a token is taken whole
  std::string name;               ///< of its file, for errors
};

/// BPE as in tokenizer.json and vocab.json + merges.txt: rules with ranks, the smallest rank first (Sennrich
/// et al. 2016).
class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeParts parts);
  void encode_to(std::string_view text, bool parse_special, std::vector<int32_t>& out) const override;

 private:
  void encode_piece(std::string_view text, bool at_start, bool parse_special, BpeScratch& scratch,
                    std::vector<int32_t>& out) const;
  void encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void make_symbols(std::string_view word, std::vector<Symbol>& symbols) const;
  const std::string& key_of(int32_t id) const;
  bool fall_back_to_bytes(std::string_view word, size_t begin, size_t length,
                          std::vector<Symbol>& symbols) const;

  BpeParts parts_;
  TokenMap model_ids_;  // what a symbol or word is looked up by -> id: bytes for byte-level, text otherwise
  std::array<int32_t, 256> byte_ids_{};
  bool cut_at_metaspace_ = false;
  mutable ScratchPool scratch_;
};

}  // namespace octavo
