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

/// What scoring needs of each row of logits [rows, vocab], fp32 or bf16: log_sum[r] = log of the sum of the
/// exponentials (summed in FP32), so that log softmax(logits)[t] = logits[r][t] - log_sum[r]; best[r], the
/// index of the largest logit, the first of equals. A row with a NaN has a NaN as its log_sum.
void logit_statistics(ConstMatrix logits, double* log_sum, int32_t* best, ThreadPool& pool);

/// One logit, widened.
double logit_at(ConstMatrix logits, int64_t row, int64_t column);

/// divergence[r] = KL(softmax(p) || softmax(q)) of the rows of two matrices of logits [rows, vocab], in
/// natural units and double; never below 0.
void kl_divergence(ConstMatrix p, ConstMatrix q, double* divergence, ThreadPool& pool);

}  // namespace octavo
