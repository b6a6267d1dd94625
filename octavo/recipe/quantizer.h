// SPDX-License-Identifier: Apache-2.0
// A slot's rule applied to a matrix: amax, scale, codes. No decision of its own.
#pragma once
#include <cstdint>
#include <optional>

#include "octavo/base/thread_pool.h"
#include "octavo/kernels/quantize.h"
#include "octavo/recipe/scaler.h"
#include "octavo/tensor/scaled_tensor.h"

namespace octavo {

struct QuantizeRequest {
  ConstMatrix x;      ///< any format with a sign
  float x_scale = 1;  ///< value = element * x_scale; ignored for fp32 and bf16
  std::optional<float>
      amax;           ///< max |x| when the caller has it (a fused epilogue); else a pass over x when needed
  uint64_t seed = 0;  ///< stochastic rounding
  bool by_column =
      false;  ///< granularity row: a scale for each column of x, for a GEMM that sums over rows of x
  float* column_sums = nullptr;  ///< [cols], the sums of the columns of x are added (a bias gradient)
  QuantizeStats* stats = nullptr;
};

/// Fills out.codes (same shape as x, in the slot's format) and out.scales (scale_count() entries; may be
/// nullptr for fp32 and bf16), and sets out.granularity and out.by_column. `amax` of the request is ignored
/// for `row`. Blocks and mx are an unsupported error.
void quantize_tensor(Scaler& scaler, Scaler::Slot slot, const QuantizeRequest& request, ScaledTensor& out,
                     ThreadPool& pool);

}  // namespace octavo
