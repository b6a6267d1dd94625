// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/vector.h"

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"
#include "octavo/kernels/stored.h"

namespace octavo {

double sum_squares(const float* x, int64_t n, ThreadPool& pool) {
  return sum_squares(Stored{const_cast<float*>(x), Format::fp32}, n, pool);
}

void column_sum(ConstMatrix x, float* out, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  pool.parallel_for(x.cols, 64, [&](int64_t begin, int64_t end) {
    kernels.column_sum(row_at(x, 0, begin), x.rows, x.stride, out + begin, end - begin);
  });
}

void copy(ConstMatrix x, Matrix y, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) kernels.convert(row_at(x, r), row_at(y, r), x.cols);
  });
}

void add(ConstMatrix x, Matrix y, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      kernels.add(row_at(x, r), row_at(ConstMatrix(y), r), row_at(y, r), x.cols);
  });
}

}  // namespace octavo
