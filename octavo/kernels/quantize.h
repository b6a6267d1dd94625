// SPDX-License-Identifier: Apache-2.0
// From FP32, BF16 or what is stored in fewer bits to codes, and what the numbers did on the way.
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/numerics/format.h"
#include "octavo/numerics/rounding.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// What a quantization lost. Only filled on steps that log it.
struct QuantizeStats {
  int64_t count = 0;            ///< elements
  int64_t nonzero = 0;          ///< elements that were not zero
  int64_t underflow = 0;        ///< non-zero to zero
  int64_t saturated = 0;        ///< |x / scale| > largest finite, by more than the rounding of the scale
  double signal = 0;            ///< sum of x^2
  double noise = 0;             ///< sum of (x - code * scale)^2
  int64_t exponents[256] = {};  ///< histogram of the biased FP32 exponent of x
};

/// max |x| of a matrix in any format with a sign; value = element * x_scale, which fp32 and bf16 ignore. A
/// NaN anywhere gives NaN: it must not vanish in a maximum.
float amax(ConstMatrix x, ThreadPool& pool, float x_scale = 1);
/// The same for each row; out[rows].
void row_amax(ConstMatrix x, float* out, ThreadPool& pool, float x_scale = 1);
/// And for each column; out[cols].
void column_amax(ConstMatrix x, float* out, ThreadPool& pool, float x_scale = 1);

/// Where codes go and by which rule. Kernels that know the scale beforehand take one of these and write codes
/// in the pass that computes the values.
struct CodesOut {
  Matrix codes{};  ///< a signed 8-bit format or fp16, or bf16 (to nearest even, beyond the end Inf) or fp32
                   ///< (copy), for which scale, rounding and overflow mean nothing; data == nullptr: no codes
                   ///< are wanted
  const float* scale = nullptr;   ///< value = code * scale; nullptr: 1
  bool scale_per_row = false;     ///< scale[rows] instead of scale[0]
  bool scale_per_column = false;  ///< scale[cols] instead of scale[0]
  Rounding rounding = Rounding::nearest_even;
  Overflow overflow = Overflow::saturate;
  uint64_t seed =
      0;  ///< stochastic rounding: element (r,c) uses Philox at r * cols + c, so partitions do not matter
};

struct QuantizeArgs {
  ConstMatrix x{};        ///< any format with a sign
  float x_scale = 1;      ///< value = element * x_scale; ignored for fp32 and bf16
  CodesOut out{};         ///< codes of the same shape
  float* amax = nullptr;  ///< max |x| of this very pass (delayed scaling), or none; NaN propagates
  /// [cols], or none: the sums of the columns of x are added, in blocks of 64 rows in order; same bits for
  /// any team.
  float* column_sums = nullptr;
  QuantizeStats* stats = nullptr;  ///< added to; costs time
};

/// x * (1/scale) -> codes, one rounding when scale is a power of two (the product is then exact).
/// For other scales: codes of fl(x / scale).
void quantize(const QuantizeArgs& args, ThreadPool& pool);

/// The scale of element (r, c).
inline float scale_at(const CodesOut& out, int64_t r, int64_t c) {
  return out.scale ? out.scale[out.scale_per_row ? r : out.scale_per_column ? c : 0] : 1.0f;
}

/// out = codes * scale; out is fp32 or bf16.
void dequantize(ConstMatrix codes, const float* scale, bool scale_per_row, Matrix out, ThreadPool& pool);

}  // namespace octavo
