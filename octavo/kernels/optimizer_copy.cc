// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/optimizer_copy.h"

#include <cmath>

#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"
#include "octavo/numerics/scale.h"

namespace octavo {

WeightCopy::WeightCopy(const CopyOut& out, const Stored& weight, const CodeRule& rule)
    : out_(out),
      weight_(weight),
      writer_({out.codes, out.format, out.scale}, {}),
      largest_(max_finite(out.format)) {
  out_.scale = writer_.scale();  // 1 for a format without a scale
  int exponent = 0;
  const float ratio = out_.scale / weight.scale;
  const bool power = std::frexp(ratio, &exponent) == 0.5f;
  octaves_ = exponent - 1;
  halves_ = row_kernels().fp16_to_e4m3 && weight.format == Format::fp16 && out.format == Format::e4m3 &&
            rule.rounding == Rounding::nearest_even && power && octaves_ >= -4 && octaves_ <= 100;
}

void WeightCopy::fetch(int64_t first, int64_t count) const {
  if (!goes_on()) return;
  const char* const p = static_cast<const char*>(out_.codes) + first * bytes(out_.format);
  for (int64_t i = 0; i < count * bytes(out_.format); i += 64) __builtin_prefetch(p + i, 1);
}

void WeightCopy::store(const Stored& weight, int64_t first, int64_t count, uint32_t unrounded) {
  if (!goes_on()) return;
  if (weight.scale != weight_.scale) return make_again();
  const RowKernels& kernels = row_kernels();
  const float amax = float_from_bits(unrounded);
  if (halves_ && amax / weight.scale <= max_finite(Format::fp16) && amax / out_.scale <= largest_) {
    // Rounding keeps it within the end of the copy, which is a number of FP16, too, or beyond all of them.
    unrounded_.raise(unrounded);
    kernels.fp16_to_e4m3(static_cast<const uint16_t*>(weight.data) + first, octaves_,
                         static_cast<uint8_t*>(out_.codes) + first, count);
    return;
  }
  StretchBuffer buffer;
  const float* values = static_cast<const float*>(weight.data) + first;
  uint32_t bits = unrounded;
  if (weight.format != Format::fp32) {
    bits = kernels.decode(row_of(weight, first), buffer.values, count);
    values = buffer.values;
  }
  amax_.raise(bits);
  if (!(float_from_bits(bits) / out_.scale <= largest_)) return make_again();
  writer_.write(values, first, count, bits);
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
