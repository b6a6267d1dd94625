// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/loss.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "octavo/kernels/ref/rows_ref.h"
#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

void cross_entropy(Matrix logits, const int32_t* targets, float* losses, bool want_gradient, float grad_scale,
                   ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  const int64_t vocab = logits.cols;
  pool.parallel_for(logits.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const Row row = row_at(logits, r);
      const int32_t target = targets[r];
      if (target == kIgnoreTarget) {
        losses[r] = 0;
        if (want_gradient) std::memset(row.data, 0, static_cast<size_t>(vocab * bytes(logits.format)));
        continue;
      }
      assert(target >= 0 && target < vocab);
      float max = 0, sum = 0;
      kernels.softmax_stats({row.data, row.bf16}, vocab, &max, &sum);
      const double above = double{get(row, target)} - max;
      losses[r] = static_cast<float>(std::log(double{sum}) - above);
      if (!want_gradient) continue;
      // p - 1 in double: where the model is sure, p is near 1 and the difference would be rounding noise.
      const double at_target = (std::exp(above) - sum) / sum * grad_scale;
      kernels.softmax_apply(row, vocab, max, static_cast<float>(grad_scale / double{sum}));
      put(row, target, at_target);
    }
  });
}

void logit_statistics(ConstMatrix logits, double* log_sum, int32_t* best, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  pool.parallel_for(logits.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const ConstRow row = row_at(logits, r);
      float max = 0, sum = 0;
      kernels.softmax_stats(row, logits.cols, &max, &sum);
      log_sum[r] = double{max} + std::log(double{sum});
      int64_t first = 0;
      float largest = get(row, 0);
      for (int64_t v = 1; v < logits.cols; ++v)
        if (const float x = get(row, v); x > largest) {
          largest = x;
          first = v;
        }
      best[r] = static_cast<int32_t>(first);
    }
  });
}

double logit_at(ConstMatrix logits, int64_t row, int64_t column) {
  return double{get(row_at(logits, row), column)};
}

void kl_divergence(ConstMatrix p, ConstMatrix q, double* divergence, ThreadPool& pool) {
  assert(p.rows == q.rows && p.cols == q.cols);
  const auto log_sum = [](ConstRow row, int64_t vocab) {
    double max = double{get(row, 0)}, sum = 0;
    for (int64_t v = 1; v < vocab; ++v) max = std::max(max, double{get(row, v)});
    for (int64_t v = 0; v < vocab; ++v) sum += std::exp(double{get(row, v)} - max);
    return max + std::log(sum);
  };
  pool.parallel_for(p.rows, 1, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const ConstRow a = row_at(p, r), b = row_at(q, r);
      const double sum_a = log_sum(a, p.cols), sum_b = log_sum(b, p.cols);
      double total = 0;
      for (int64_t v = 0; v < p.cols; ++v) {
        const double log_a = double{get(a, v)} - sum_a, log_b = double{get(b, v)} - sum_b;
        // A logit of minus infinity has no probability and no part in the sum.
        if (const double probability = std::exp(log_a); probability > 0)
          total += probability * (log_a - log_b);
      }
      divergence[r] = total < 0 ? 0 : total;  // NaN stays NaN
    }
  });
}

}  // namespace octavo
