// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/optimizer_copy.h"

#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"
#include "octavo/numerics/scale.h"

namespace octavo {

WeightCopy::WeightCopy(const CopyOut& out, const Stored& weight)
    : out_(out),
      weight_(weight),
      writer_({out.codes, out.format, out.scale}, {}),
      largest_(max_finite(out.format)) {
  out_.scale = writer_.scale();  // 1 for a format without a scale
}

void WeightCopy::store(const Stored& weight, int64_t first, int64_t count) {
  if (!goes_on()) return;
  if (weight.scale != weight_.scale) return make_again();
  const RowKernels& kernels = row_kernels();
  StretchBuffer buffer;
  const float* values = static_cast<const float*>(weight.data) + first;
  uint32_t bits = 0;
  if (weight.format == Format::fp32) {
    bits = kernels.amax({values, false}, count);
  } else {
    bits = kernels.decode(row_of(weight, first), buffer.values, count);
    values = buffer.values;
  }
  amax_.raise(bits);
  if (!(float_from_bits(bits) / out_.scale <= largest_)) return make_again();
  writer_.write(values, first, count, bits);
}

void WeightCopy::store_codes(const void* codes, int64_t first, int64_t count, uint32_t bits) {
  if (!goes_on()) return;
  unrounded_.raise(bits);
  // Rounding to fewer bits could lead beyond the end, but only from above half of the largest number.
  if (const float amax = float_from_bits(bits); amax / out_.scale > largest_ / 2)
    if (!(rounded(amax) / out_.scale <= largest_)) return make_again();
  writer_.copy(codes, first, count, 0);
}

float WeightCopy::rounded(float x) const {
  const uint32_t code =
      encode(weight_.format, x / weight_.scale, Rounding::nearest_even, Overflow::saturate, 0);
  return decode(weight_.format, code) * weight_.scale;
}

void WeightCopy::finish(const Stored& weight, int64_t n, ThreadPool& pool) {
  if (!out_.codes) return;
  if (weight.scale != weight_.scale) make_again();
  // Rounding is monotonic: the largest number, rounded, is the largest of the rounded.
  const float unrounded = unrounded_.value();
  final_amax_ = goes_on() ? std::max(amax_.value(), unrounded > 0 ? rounded(unrounded) : 0)
                          : octavo::amax(weight, n, pool);
  const float last = out_.scale;
  if (!is_fp32_or_bf16(out_.format)) {
    const std::optional<int> bias = pow2_bias(final_amax_, out_.format, out_.margin, kFloatBiasRange);
    if (bias) out_.scale = scale_from_bias(*bias);
  }
  if (!goes_on() || out_.scale != last) recode(weight, n, {out_.codes, out_.format, out_.scale}, {}, pool);
}

}  // namespace octavo
