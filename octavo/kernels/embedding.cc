// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/embedding.h"

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

void embedding_forward(ConstMatrix table, ConstMatrix position_table, const int32_t* tokens,
                       const int32_t* positions, Matrix out, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  pool.parallel_for(out.rows, rows_per_grain(out.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      assert(tokens[r] >= 0 && tokens[r] < table.rows);
      const ConstRow token = row_at(table, tokens[r]);
      if (position_table.data)
        kernels.add(token, row_at(position_table, positions[r]), row_at(out, r), out.cols);
      else
        kernels.convert(token, row_at(out, r), out.cols);
    }
  });
}

void embedding_backward(ConstMatrix dout, const int32_t* tokens, const int32_t* positions, Matrix dtable,
                        Matrix dposition, ThreadPool& pool) {
  assert(!dtable.data || dtable.format == Format::fp32);
  assert(!dposition.data || dposition.format == Format::fp32);
  const RowKernels& kernels = row_kernels();
  // 64 columns are whole cache lines in both formats.
  pool.parallel_for(dout.cols, 64, [&](int64_t begin, int64_t end) {
    const auto accumulate = [&](const Matrix& sum, int64_t at, int64_t r) {
      kernels.accumulate(row_at(dout, r, begin), static_cast<float*>(row_at(sum, at, begin).data),
                         end - begin);
    };
    for (int64_t r = 0; r < dout.rows; ++r) {
      if (dtable.data) accumulate(dtable, tokens[r], r);
      if (dposition.data) accumulate(dposition, positions[r], r);
    }
  });
}

}  // namespace octavo
