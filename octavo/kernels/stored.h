// SPDX-License-Identifier: Apache-2.0
// Tensors between steps: master weights, gradients and moments in FP32, BF16, FP16 or 8 bits, with one scale
// each (arXiv 2310.18313, section 2).
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/numerics/format.h"
#include "octavo/numerics/rounding.h"

namespace octavo {

/// n elements side by side in the format they are kept in: any with a sign. value = element * scale; fp32 and
/// bf16 have no scale.
struct Stored {
  void* data = nullptr;
  Format format = Format::fp32;
  float scale = 1;
};

/// Elements from `first` on.
inline Stored from(const Stored& x, int64_t first) {
  return {static_cast<char*>(x.data) + first * bytes(x.format), x.format, x.scale};
}

/// How values become elements, as encode() of numerics/encode.h does it. For fp32 it means nothing.
struct CodeRule {
  Rounding rounding = Rounding::nearest_even;
  Overflow overflow = Overflow::saturate;
  uint64_t seed = 0;   ///< stochastic rounding: the Philox key
  uint64_t first = 0;  ///< and its counter for the first element: where that stands in the whole tensor
};

/// What encode() saw.
struct Encoded {
  float amax = 0;         ///< max |x| before the scale; NaN if there is one
  int64_t saturated = 0;  ///< codes that are the largest finite number or its negative; 0 for fp32 and bf16
};

/// out[n] = the values, each product with the scale rounded to FP32.
void decode(const Stored& x, int64_t n, float* out, ThreadPool& pool);

/// Elements of fl(x / out.scale) by one rounding.
Encoded encode(const float* x, int64_t n, const Stored& out, const CodeRule& rule, ThreadPool& pool);

/// encode() of the values of x: to another scale or format, or both. In place when elements are equally wide.
Encoded recode(const Stored& x, int64_t n, const Stored& out, const CodeRule& rule, ThreadPool& pool);

/// Elements that are the largest finite number of the format or its negative; 0 for fp32 and bf16.
int64_t count_largest(const void* elements, Format format, int64_t n);

/// max |value|; NaN if there is one.
float amax(const Stored& x, int64_t n, ThreadPool& pool);

/// Sum of the squares of the values in double, through fixed chunks of 2^16 elements: same bits for any team.
double sum_squares(const Stored& x, int64_t n, ThreadPool& pool);

}  // namespace octavo
