// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <string>
#include <vector>

#include "octavo/data/added_tokens.h"
#include "octavo/data/bpe_merge.h"
#include "octavo/data/tokenizer.h"

namespace octavo {

/// Types of pieces, numbered as in sentencepiece_model.proto.
enum class PieceType { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::normal;
};

/// What a SentencePiece BPE model says, apart from where it was stored.
struct SpmParts {
  std::vector<Piece> pieces;
  bool add_dummy_prefix = true;
  bool remove_extra_spaces = false;
  bool escape_spaces = true;
  bool byte_fallback = false;
  int32_t unknown = 0;
  int32_t bos = -1, eos = -1;  ///< -1: none
  std::string name;            ///< of the file, for errors
};

/// SentencePiece's BPE: of all neighbours whose concatenation is a piece, the one with the highest score is
/// joined first, the leftmost among equals; what has no piece becomes byte pieces or unknown.
class SpmTokenizer : public Tokenizer {
 public:
  /// Throws bad_data when the pieces contradict each other.
  explicit SpmTokenizer(SpmParts parts);
  void encode_to(std::string_view text, bool parse_special, std::vector<int32_t>& out) const override;

 private:
  std::string normalized(std::string_view text, bool prefix) const;
  void encode_word(std::string_view word, BpeScratch& scratch, std::vector<int32_t>& out) const;
  void emit_unknown(std::string_view text, std::vector<int32_t>& out) const;

  SpmParts parts_;
  TokenMap pieces_;           // what text can become: normal, user-defined and unused pieces
  AddedTokens user_defined_;  // taken whole wherever they stand
  AddedTokens control_;
  std::array<int32_t, 256> byte_ids_{};
  bool cut_at_metaspace_ = false;
  mutable ScratchPool scratch_;
};

}  // namespace octavo
