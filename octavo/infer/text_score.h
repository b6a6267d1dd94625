// SPDX-License-Identifier: Apache-2.0
// A whole text under a model: sliding windows, perplexities, and how far two models are apart on it.
#pragma once
#include <functional>
#include <string_view>
#include <vector>

#include "octavo/data/tokenizer.h"
#include "octavo/infer/score.h"

namespace octavo {

/// A text as tokens: BOS first where the tokenizer adds one.
struct TextTokens {
  std::vector<int32_t> tokens;
  int64_t own = 0;  ///< tokens without BOS
  int64_t bytes = 0, words = 0, characters = 0;
};
TextTokens tokenize_text(const Tokenizer& tokenizer, std::string_view text);

/// Windows of `length` tokens, each `stride` after the one before, the last one shorter: the usual strided
/// perplexity. A window scores the tokens that no window before it had, except its very first token, which
/// has nothing before it. With stride < length every token but the first of the text is scored exactly once.
/// Throws usage unless 1 <= stride <= length and 2 <= length. The windows view `tokens`. A last window that
/// would score nothing is left out.
std::vector<ScoreRequest> text_windows(std::span<const int32_t> tokens, int64_t length, int64_t stride);

/// Figures of a text from its mean loss.
struct TextFigures {
  double loss = 0;              ///< mean over scored tokens, natural units
  double token_perplexity = 0;  ///< exp(loss)
  double word_perplexity = 0;   ///< exp(loss * tokens / words)
  double byte_perplexity = 0;   ///< exp(loss * tokens / bytes)
  double bits_per_byte = 0;
};
TextFigures text_figures(const TextTokens& text, double loss_sum, int64_t scored);

/// Two models over the same windows.
struct TextComparison {
  std::vector<double> loss_a, loss_b, scored;  ///< sums a window, and its scored tokens
  std::vector<double> divergence;              ///< KL(a || b) of each scored token's distribution
  int64_t same_top = 0;                        ///< rows whose most likely token is the same
};

/// Both models' limits must hold the windows, and their vocabularies be equal. Runs batches of the smaller of
/// both batch limits.
TextComparison compare_text(Transformer& a, Transformer& b, std::span<const ScoreRequest> windows,
                            const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace octavo
