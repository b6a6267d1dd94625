// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/vector.h"

#include <array>

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

double sum_squares(const float* x, int64_t n, ThreadPool& pool) {
  constexpr int64_t kChunk = int64_t{1} << 16, kSlots = 256;
  const RowKernels& kernels = row_kernels();
  const int64_t chunks = (n + kChunk - 1) / kChunk, slots = std::min(kSlots, chunks);
  std::array<double, kSlots> partial{};
  pool.parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      for (int64_t c = chunks * s / slots; c < chunks * (s + 1) / slots; ++c)
        partial[static_cast<size_t>(s)] +=
            kernels.sum_squares(x + c * kChunk, std::min(kChunk, n - c * kChunk));
  });
  double total = 0;
  for (double p : partial) total += p;
  return total;
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
