// SPDX-License-Identifier: Apache-2.0
// The emulated FP16 accumulator, element by element.
#include <algorithm>
#include <cmath>

#include "octavo/kernels/ref/rows_ref.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

float to_fp16(float x) {
  return decode(Format::fp16, encode(Format::fp16, x, Rounding::nearest_even, Overflow::inf));
}

}  // namespace

void round_fp16_ref(float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = to_fp16(x[i]);
}

void sum_fp16_ref(const Fp16SumBlock& g) {
  for (int64_t r = 0; r < g.rows; ++r)
    for (int64_t c = 0; c < kFp16Columns; ++c) {
      float& sum = g.sum[r * kFp16Columns + c];
      for (int64_t k0 = 0; k0 < g.k; k0 += kFp16Block) {
        float part = 0;
        for (int64_t k = k0; k < std::min(k0 + kFp16Block, g.k); ++k)
          part = std::fma(g.a[r * g.a_stride + k], g.b[k * kFp16Columns + c], part);
        if (g.row_factor) part *= g.row_factor[r] * g.column_factor[c];
        sum = to_fp16(sum + part);
      }
    }
}

}  // namespace octavo
