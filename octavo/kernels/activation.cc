// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/activation.h"

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

void activation_forward(Activation kind, ConstMatrix x, ConstMatrix up, Matrix y, float* amax,
                        ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  SharedAmax largest;
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    uint32_t mine = 0;
    for (int64_t r = begin; r < end; ++r)
      mine = std::max(mine, kernels.activation_forward({.kind = static_cast<int>(kind),
                                                        .cols = x.cols,
                                                        .x = row_at(x, r),
                                                        .up = row_at(up, r),
                                                        .y = row_at(y, r)}));
    largest.raise(mine);
  });
  if (amax) *amax = largest.value();
}

void activation_backward(Activation kind, ConstMatrix dy, ConstMatrix x, ConstMatrix up, Matrix dx,
                         Matrix dup, float* amax_dx, float* amax_dup, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  SharedAmax largest_dx, largest_dup;
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      ActivationBackwardRow row{.kind = static_cast<int>(kind),
                                .cols = x.cols,
                                .dy = row_at(dy, r),
                                .x = row_at(x, r),
                                .up = row_at(up, r),
                                .dx = row_at(dx, r),
                                .dup = row_at(dup, r)};
      kernels.activation_backward(row);
      largest_dx.raise(row.amax_dx);
      largest_dup.raise(row.amax_dup);
    }
  });
  if (amax_dx) *amax_dx = largest_dx.value();
  if (amax_dup) *amax_dup = largest_dup.value();
}

}  // namespace octavo
