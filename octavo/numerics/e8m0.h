// SPDX-License-Identifier: Apache-2.0
// E8M0, the scale type of OCP MX 1.0: 2^(code - 127) for codes 0..254, 255 is NaN. No sign, no zero.
#pragma once
#include <cstdint>

#include "octavo/numerics/float_bits.h"
#include "octavo/numerics/rounding.h"

namespace octavo {

/// How a positive number between two powers of two is rounded.
enum class PowerRounding : uint8_t {
  floor,    ///< to the lower power: the shared exponent of OCP MX 1.0, section 6.3
  nearest,  ///< to the nearer power in value; the tie 1.5 * 2^n goes to the even code
  ceil      ///< to the upper power, so that value / scale never exceeds the range the scale was chosen for
};

/// Where a number lies between two powers of two.
struct PowerPosition {
  uint32_t code = 0;      ///< of the lower power
  uint32_t fraction = 0;  ///< of the way to the upper one, in units of 2^-32; exact
  bool is_nan = false;
};

/// Numbers below 2^-127, zero among them, are moved up to 2^-127. Negative numbers and NaN have no place.
/// Inf is code 255, which is beyond the largest code.
constexpr PowerPosition e8m0_position(float x) noexcept {
  const uint32_t bits = float_bits(x);
  const uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > kFloatInf || (bits != magnitude && magnitude != 0)) return {.is_nan = true};
  if (magnitude >= kFloatImplicitOne) return {magnitude >> 23, (magnitude & 0x7fffff) << 9, false};
  // FP32 subnormals: only the octave from 2^-127 to 2^-126 is in range; its 22 bits below the first are the
  // fraction.
  if (magnitude >= 0x400000) return {0, (magnitude & 0x3fffff) << 10, false};
  return {};
}

/// A code beyond 2^127 by `overflow`: the largest code (saturate) or NaN (nan, and inf because there is
/// none).
constexpr uint8_t e8m0_finish(uint32_t code, bool overflow_to_max) noexcept {
  return code <= 0xfe ? static_cast<uint8_t>(code) : overflow_to_max ? uint8_t{0xfe} : uint8_t{0xff};
}

/// x rounded to a power of two. Negative numbers and NaN give NaN (-0 counts as 0); 0 and everything below
/// 2^-127 give 2^-127 in every mode; `overflow` decides beyond 2^127 and for Inf.
constexpr uint8_t encode_e8m0(float x, PowerRounding rounding, Overflow overflow) noexcept {
  const PowerPosition at = e8m0_position(x);
  if (at.is_nan) return 0xff;
  constexpr uint32_t kHalf = 0x80000000;
  bool up = false;
  switch (rounding) {
    case PowerRounding::floor:
      break;
    case PowerRounding::nearest:
      up = at.fraction > kHalf || (at.fraction == kHalf && (at.code & 1));
      break;
    case PowerRounding::ceil:
      up = at.fraction != 0;
      break;
  }
  return e8m0_finish(at.code + up, overflow == Overflow::saturate);
}

}  // namespace octavo
