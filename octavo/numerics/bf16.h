// SPDX-License-Identifier: Apache-2.0
// BF16 is the upper half of FP32, which makes its conversions a few integer operations.
#pragma once
#include <cstdint>

#include "octavo/numerics/float_bits.h"

namespace octavo {

/// Exact; equal to decode<Format::bf16>.
constexpr float bf16_to_float(uint16_t code) noexcept { return float_from_bits(uint32_t{code} << 16); }

/// Nearest even, overflow to Inf; equal to encode<Format::bf16>(x, Rounding::nearest_even, Overflow::inf).
/// Subnormals are kept. A NaN becomes 0x7fc0 with its sign.
constexpr uint16_t bf16_from_float(float x) noexcept {
  const uint32_t bits = float_bits(x);
  if ((bits & 0x7fffffff) > kFloatInf) return static_cast<uint16_t>((bits >> 16 & 0x8000) | 0x7fc0);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

}  // namespace octavo
