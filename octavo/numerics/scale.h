// SPDX-License-Identifier: Apache-2.0
// Scales from a largest magnitude. Everywhere value = code * scale; a bias b says scale = 2^-b, so a tensor
// is multiplied by 2^b before it is encoded (arXiv 2309.17224, section 3).
#pragma once
#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>

#include "octavo/numerics/decode.h"
#include "octavo/numerics/float_bits.h"
#include "octavo/numerics/format.h"

namespace octavo {

/// Allowed biases, both ends included.
struct BiasRange {
  int low;
  int high;
};
/// The range of the code published with arXiv 2309.17224.
inline constexpr BiasRange kPaperBiasRange{-31, 31};
/// Both 2^b and 2^-b are normal FP32 numbers.
inline constexpr BiasRange kFloatBiasRange{-126, 126};

/// floor(log2(x)) of a finite positive x, subnormals included, with the bits below the leading one in
/// `mantissa` (23 of them, left-aligned).
struct Log2Parts {
  int exponent;
  uint32_t mantissa;
};
constexpr Log2Parts log2_parts(float x) noexcept {
  const uint32_t bits = float_bits(x);
  if (bits >= kFloatImplicitOne) return {static_cast<int>(bits >> 23) - 127, bits & (kFloatImplicitOne - 1)};
  const int width = static_cast<int>(std::bit_width(bits));
  return {width - 150, (bits << (24 - width)) & (kFloatImplicitOne - 1)};
}

/// True for the magnitudes a scale can be made from: neither zero, negative, infinite nor NaN.
constexpr bool usable_amax(float amax) noexcept {
  const uint32_t bits = float_bits(amax);
  return bits != 0 && bits < kFloatInf;
}

/// floor(log2(max_finite(format) / amax)) - margin, exactly, by comparing exponents and then mantissas: the
/// largest b for which amax * 2^(b + margin) is within the format. Nothing when amax is not usable; the
/// caller then keeps its last scale or takes 0. The result may be outside of what FP32 can hold as 2^b; pass
/// a range for that.
constexpr std::optional<int> pow2_bias(float amax, Format format, int margin) noexcept {
  if (!usable_amax(amax)) return std::nullopt;
  const Log2Parts top = log2_parts(max_finite(format)), at = log2_parts(amax);
  const int64_t bias = int64_t{top.exponent} - at.exponent - (top.mantissa < at.mantissa) - margin;
  return static_cast<int>(
      std::clamp<int64_t>(bias, std::numeric_limits<int>::min(), std::numeric_limits<int>::max()));
}

/// The same clipped to `range` after the margin was taken off.
constexpr std::optional<int> pow2_bias(float amax, Format format, int margin, BiasRange range) noexcept {
  const std::optional<int> bias = pow2_bias(amax, format, margin);
  if (!bias) return std::nullopt;
  return std::clamp(*bias, range.low, range.high);
}

/// The scale of a bias, 2^-bias; exact for -127..149.
constexpr float scale_from_bias(int bias) noexcept {
  return exp2i(bias < -127 ? 128 : bias > 149 ? -150 : -bias);
}

/// amax / max_finite(format) in FP32, rounded once. Nothing when amax is not usable or the quotient rounds to
/// 0.
constexpr std::optional<float> amax_scale(float amax, Format format) noexcept {
  if (!usable_amax(amax)) return std::nullopt;
  const float scale = amax / max_finite(format);
  if (scale == 0.0f) return std::nullopt;
  return scale;
}

}  // namespace octavo
