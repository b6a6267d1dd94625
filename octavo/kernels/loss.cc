// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/loss.h"

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

}  // namespace octavo
