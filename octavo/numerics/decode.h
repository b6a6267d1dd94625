// SPDX-License-Identifier: Apache-2.0
// Codes to FP32. Every number of every format is an FP32 number, so decoding is exact.
#pragma once
#include <array>
#include <cstdint>

#include "octavo/numerics/float_bits.h"
#include "octavo/numerics/format.h"

namespace octavo {

/// The value of `code` in the format `s`; bits above the code's width must be 0.
/// A NaN comes back as a quiet NaN with the code's sign (fp32 and bf16 keep all bits).
constexpr float decode(const FormatSpec& s, uint32_t code) noexcept {
  if (!s.has_sign)
    return code == s.nan_code ? float_from_bits(0x7fc00000) : exp2i(static_cast<int>(code) - s.bias);
  // fp32 itself and its upper half: the code is the number.
  if (s.exponent_bits == 8) return float_from_bits(code << (32 - s.bits));
  const uint32_t magnitude = code & ~s.sign_mask();
  const uint32_t sign = code & s.sign_mask() ? 0x80000000u : 0u;
  const bool fnuz_nan = !s.has_negative_zero && code == s.nan_code;
  if (fnuz_nan || magnitude > s.max_code) {
    const bool infinite = s.has_inf() && magnitude == s.inf_code;
    return float_from_bits(sign | (infinite ? kFloatInf : 0x7fc00000));
  }
  const uint32_t field = magnitude >> s.mantissa_bits;
  const uint32_t implicit_one = uint32_t{1} << s.mantissa_bits;
  const uint32_t mantissa = (magnitude & (implicit_one - 1)) | (field ? implicit_one : 0);
  const int exponent = (field ? static_cast<int>(field) : 1) - s.bias - s.mantissa_bits;
  // Both factors and the product are normal in FP32 for all formats that come here.
  const float value = static_cast<float>(mantissa) * exp2i(exponent);
  return float_from_bits(float_bits(value) | sign);
}

/// The value of a code of F.
template <Format F>
constexpr float decode(Code<F> code) noexcept {
  return decode(spec(F), code);
}

/// The same with the format chosen at run time.
constexpr float decode(Format format, uint32_t code) noexcept { return decode(spec(format), code); }

/// All 256 values of an 8-bit format, by code.
template <Format F>
requires(spec(F).bits == 8) inline constexpr std::array<float, 256> kDecodeTable = [] {
  std::array<float, 256> table{};
  for (uint32_t code = 0; code < 256; ++code) table[code] = decode(spec(F), code);
  return table;
}();

/// The largest finite number: 448, 57344, 240, 57344, 2^127, about 3.39e38, 65504, about 3.40e38 in the order
/// of the enum.
constexpr float max_finite(Format format) noexcept { return decode(spec(format), spec(format).max_code); }
/// The smallest positive normal number.
constexpr float min_normal(Format format) noexcept { return exp2i(spec(format).min_exponent()); }
/// The smallest positive number; equal to min_normal for e8m0, which has no subnormals.
constexpr float min_subnormal(Format format) noexcept {
  return exp2i(spec(format).min_exponent() - spec(format).mantissa_bits);
}

}  // namespace octavo
