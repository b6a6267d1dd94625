// SPDX-License-Identifier: Apache-2.0
// A quantized matrix: codes and what multiplies them. value = code * scale, always.
#pragma once
#include <cstdint>

#include "octavo/tensor/matrix.h"

namespace octavo {

/// Over which elements one scale is shared.
/// row: one scale for each line of the payload that a GEMM sums along: each stored row, or each column where
/// the GEMM that reads it sums over rows.
/// block: block_rows x block_cols elements; mx: 1 x 32 with E8M0 scales. A tensor used along both dimensions
/// with anything finer than `tensor` has two payloads, each quantized for its own use.
enum class Granularity { tensor, row, block, mx };

struct GranularitySpec {
  Granularity kind = Granularity::tensor;
  int32_t block_rows = 0, block_cols = 0;  ///< block only; mx is 1 x 32
  friend bool operator==(const GranularitySpec&, const GranularitySpec&) = default;
};

/// Number of scales a rows x cols payload carries.
inline int64_t scale_count(const GranularitySpec& g, int64_t rows, int64_t cols) {
  switch (g.kind) {
    case Granularity::tensor:
      return 1;
    case Granularity::row:
      return rows;
    case Granularity::block:
      return ((rows + g.block_rows - 1) / g.block_rows) * ((cols + g.block_cols - 1) / g.block_cols);
    case Granularity::mx:
      return rows * ((cols + 31) / 32);
  }
  return 1;
}

/// Codes in `codes.format`; `scales` has scale_count() entries, FP32 (E8M0 values for mx, widened). An
/// unscaled format (bf16, fp32) has scales == nullptr. Codes always lie as the tensor does, never transposed:
/// a GEMM reads them in either direction, and `by_column` says which way `row` scales run.
struct ScaledTensor {
  Matrix codes;
  GranularitySpec granularity;
  float* scales = nullptr;
  bool by_column = false;  ///< granularity row: one scale for each column of `codes`, not for each row
};

}  // namespace octavo
