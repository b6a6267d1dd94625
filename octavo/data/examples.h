// SPDX-License-Identifier: Apache-2.0
// Examples for fine-tuning: text of which a part is to be learned, as tokens with marks.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/data/tokenizer.h"

namespace octavo {

/// A stretch of an example.
struct Piece {
  enum class Kind {
    text,        ///< special tokens written out in it stay text
    marker,      ///< a template's own sign: the token of this name, or text where the tokenizer has none
    end_of_text  ///< EOS where the tokenizer has one, unless the example has just ended with it
  };
  Kind kind = Kind::text;
  std::string text = {};
  bool counts = false;  ///< its tokens are targets
};

struct Example {
  std::vector<Piece> pieces;
  std::string place;  ///< "file:line" it was read from, for messages
};

/// Appends the tokens of an example, BOS first where the tokenizer adds it, and their marks (kCounts,
/// kBegins).
///
/// Neighbouring pieces of text are encoded as they would be met when the model is used: what is before a
/// piece alone, and both together. Where the second encoding begins with the first, its rest is the piece;
/// where the tokenizer joins characters across the border, the piece is encoded on its own.
///
/// Throws bad_data naming the place when no token counts.
void encode_example(const Tokenizer& tokenizer, const Example& example, std::vector<int32_t>& ids,
                    std::vector<uint8_t>& marks);

}  // namespace octavo
