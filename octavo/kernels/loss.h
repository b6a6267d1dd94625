// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// A target that counts for nothing: no loss, zero gradient.
inline constexpr int32_t kIgnoreTarget = -100;

/// Softmax cross-entropy of each row, fused with its gradient. logits [rows, vocab], fp32 or bf16.
/// losses[rows] = -log softmax(logits)[target] in natural units (0 for ignored rows).
/// With want_gradient the logits are overwritten by (softmax - onehot) * grad_scale; otherwise they are left
/// alone.
void cross_entropy(Matrix logits, const int32_t* targets, float* losses, bool want_gradient, float grad_scale,
                   ThreadPool& pool);

}  // namespace octavo
