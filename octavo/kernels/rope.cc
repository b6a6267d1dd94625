// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/rope.h"

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

void rope(Matrix x, int64_t heads, int64_t head_dim, const float* cos, const float* sin,
          const int32_t* positions, bool inverse, ThreadPool& pool) {
  assert(head_dim % 2 == 0 && heads * head_dim == x.cols);
  const RowKernels& kernels = row_kernels();
  const int64_t half = head_dim / 2;
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      kernels.rope(row_at(x, r), heads, head_dim, cos + positions[r] * half, sin + positions[r] * half,
                   inverse);
  });
}

}  // namespace octavo
