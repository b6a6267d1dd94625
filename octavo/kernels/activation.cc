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

void activation_quantize(Activation kind, ConstMatrix x, ConstMatrix up, const CodesOut& codes, float* amax,
                         ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  const RowEncoder encoder(codes);
  SharedAmax largest;
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    StretchBuffer y;
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols; c += kStretch) {
        const int64_t count = std::min(kStretch, x.cols - c);
        const Row row = y.row(x.format);
        kernels.activation_forward({.kind = static_cast<int>(kind),
                                    .cols = count,
                                    .x = row_at(x, r, c),
                                    .up = row_at(up, r, c),
                                    .y = row});
        largest.raise(encoder.encode({row.data, row.bf16}, r, c, count));
      }
  });
  if (amax) *amax = largest.value();
}

void activation_backward(Activation kind, ConstMatrix dy, ConstMatrix x, ConstMatrix up, Matrix dx,
                         Matrix dup, float* amax_dx, float* amax_dup, const CodesOut& codes,
                         ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  const RowEncoder encoder(codes);
  SharedAmax largest_dx, largest_dup;
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    StretchBuffer y;
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols; c += kStretch) {
        ActivationBackwardRow row{.kind = static_cast<int>(kind),
                                  .cols = std::min(kStretch, x.cols - c),
                                  .dy = row_at(dy, r, c),
                                  .x = row_at(x, r, c),
                                  .up = row_at(up, r, c),
                                  .dx = row_at(dx, r, c),
                                  .dup = row_at(dup, r, c),
                                  .y = codes.codes.data ? y.row(x.format) : Row{}};
        kernels.activation_backward(row);
        largest_dx.raise(row.amax_dx);
        largest_dup.raise(row.amax_dup);
        if (row.y.data) encoder.encode({row.y.data, row.y.bf16}, r, c, row.cols);
      }
  });
  if (amax_dx) *amax_dx = largest_dx.value();
  if (amax_dup) *amax_dup = largest_dup.value();
}

}  // namespace octavo
