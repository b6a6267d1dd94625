// SPDX-License-Identifier: Apache-2.0
// A model of family octavo as a plain Hugging Face model: the constants of its parametrization multiplied
// into the weights.
#pragma once
#include <cstdint>
#include <string>

#include "octavo/nn/model_config.h"

namespace octavo {

/// Why no plain architecture computes what this model computes; empty when one does: GPT-NeoX for rotary
/// positions, GPT-2 for learned ones.
std::string folding_obstacle(const ModelConfig& config);

struct FoldedExport {
  std::string architecture;  ///< "GPTNeoXForCausalLM"
  int64_t tensors = 0;
  uint64_t bytes = 0;
};

/// Writes model.safetensors (F32) and config.json of the model in `source` into `directory`, which exists.
/// Throws unsupported with the obstacle.
///
/// What is folded. Multipliers of products: into their weights; that of attention logits, where it is not
/// 1/sqrt(head_dim): into the queries. Residual factors: a stream x_n = c_n X_n with c_n the product of the
/// skip factors so far has plain additions, X_{n+1} = X_n + (b_n / c_{n+1}) f(norm(x_n)), and a norm does not
/// see the size of what it reads: so b_n / c_{n+1} goes into the last product of the branch. Only the epsilon
/// of a norm sees it, which is 1e-5 beside a variance of c_n^2.
FoldedExport export_folded(const std::string& source, const std::string& directory);

}  // namespace octavo
