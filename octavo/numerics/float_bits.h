// SPDX-License-Identifier: Apache-2.0
// FP32 as bits. Integer work only, so that a thread's flush-to-zero setting cannot change a result.
#pragma once
#include <bit>
#include <cstdint>
#include <limits>

namespace octavo {

static_assert(std::numeric_limits<float>::is_iec559 && sizeof(float) == 4);

inline constexpr uint32_t kFloatInf = 0x7f800000;
inline constexpr uint32_t kFloatImplicitOne = 0x00800000;

constexpr uint32_t float_bits(float x) noexcept { return std::bit_cast<uint32_t>(x); }
constexpr float float_from_bits(uint32_t bits) noexcept { return std::bit_cast<float>(bits); }

/// 2^exponent, exact for -149..127; 0 below and +Inf above.
constexpr float exp2i(int exponent) noexcept {
  if (exponent > 127) return float_from_bits(kFloatInf);
  if (exponent >= -126) return float_from_bits(static_cast<uint32_t>(exponent + 127) << 23);
  if (exponent >= -149) return float_from_bits(uint32_t{1} << (exponent + 149));
  return 0.0f;
}

}  // namespace octavo
