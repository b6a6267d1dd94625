// SPDX-License-Identifier: Apache-2.0
// Whether serving has the numbers of training (arXiv:2502.05967): logits of one text by all ways through a
// model, and how far they are apart.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "octavo/nn/transformer.h"

namespace octavo {

/// `batch` texts of `seq` tokens. tokens and targets: [batch, seq]; kIgnoreTarget where nothing follows.
struct ServedText {
  int64_t batch = 0, seq = 0;
  std::vector<int32_t> tokens, targets;
};

/// Logits after every token, [batch * seq, vocab] in FP32, by one forward pass. A model made for training
/// takes its training forward pass.
std::vector<float> logits_at_once(Transformer& model, const ServedText& text);
/// The same with the key/value cache, all texts side by side: `first` tokens, then `piece` tokens a step.
/// (Token by token: 1, 1.) The cache is empty before, and holds the texts afterwards.
std::vector<float> logits_in_pieces(Transformer& model, const ServedText& text, int64_t first, int64_t piece);

/// Of served logits from trained ones.
struct ServingDifference {
  int64_t rows = 0;        ///< compared
  int64_t other_rows = 0;  ///< with at least one bit that differs
  int64_t other_top = 0;   ///< with another most likely token
  double logit = 0;        ///< largest |difference| of a logit
  double log_prob = 0;     ///< largest |difference| of log p(target), natural units
  double kl = 0;           ///< mean of KL(trained || served)
  bool identical() const { return other_rows == 0; }
};
/// Both [rows, vocab]; targets [rows]. Throws bad_data when either holds a NaN.
ServingDifference compare_served(std::span<const float> trained, std::span<const float> served,
                                 std::span<const int32_t> targets, int64_t vocab, ThreadPool& pool);

}  // namespace octavo
