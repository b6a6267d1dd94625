// SPDX-License-Identifier: Apache-2.0
// FP32 to codes, with a single rounding.
#pragma once
#include <algorithm>
#include <cstdint>

#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/e8m0.h"
#include "octavo/numerics/float_bits.h"
#include "octavo/numerics/format.h"
#include "octavo/numerics/rounding.h"

namespace octavo {

/// The code of x in the format `s`. The contract, for every format with a sign:
///
/// 1. NaN gives NaN: the code 0x7f (e4m3), 0x7e (e5m2), 0x7fc0, 0x7e00, 0x7fc00000 with the sign of x, 0x80
/// (FNUZ).
/// 2. |x| is rounded as if the format's exponent had no upper end, but with its subnormals at the lower end.
///    A number the format holds is never moved. The sign is put back; the FNUZ formats have no -0 and give 0.
/// 3. If the result is larger than the largest finite number, it overflowed, and `overflow` decides.
/// Infinities always
///    overflow. One rule for all roundings, so, with `step` the distance of the two largest finite numbers:
///      nearest_even overflows from max + step/2 on; at that tie itself only when max has an odd code
///        (e4m3: 464 -> 448, as in the OCP tables and ml_dtypes; e5m2: 61440 and e4m3fnuz: 248 overflow);
///      truncate overflows from max + step on (e4m3: 479 -> 448, 480 overflows);
///      stochastic overflows above max with the probability of step 2, and always from max + step on.
/// 4. stochastic: with f the exact fraction of the way from the neighbour nearer to zero to the other one, it
/// rounds away
///    from zero for exactly floor(f * 2^32) of the 2^32 values of `random_bits`: the largest ones. That is
///    exactly f whenever at most 32 bits are dropped: for all normal results, and in e4m3 for all |x| >=
///    2^-18, in e5m2 2^-25, fp16 2^-33, bf16 always; below that the probability is low by less than 2^-32.
///    When n bits are dropped, only the upper n bits of `random_bits` matter. The other roundings ignore
///    `random_bits`.
///
/// e8m0 has neither sign nor zero: see encode_e8m0; truncate is its floor, nearest_even its nearest, and
/// stochastic goes to the upper power with the exact fraction.
constexpr uint32_t encode(const FormatSpec& s, float x, Rounding rounding, Overflow overflow,
                          uint32_t random_bits = 0) noexcept {
  if (!s.has_sign) {
    if (rounding == Rounding::truncate) return encode_e8m0(x, PowerRounding::floor, overflow);
    if (rounding == Rounding::nearest_even) return encode_e8m0(x, PowerRounding::nearest, overflow);
    const PowerPosition at = e8m0_position(x);
    if (at.is_nan) return s.nan_code;
    const bool up = random_bits > 0xffffffffu - at.fraction;
    return e8m0_finish(at.code + up, overflow == Overflow::saturate);
  }
  const uint32_t bits = float_bits(x);
  const uint32_t magnitude = bits & 0x7fffffff;
  const uint32_t sign = bits >> 31 ? s.sign_mask() : 0;
  const uint32_t nan = s.has_negative_zero ? sign | s.nan_code : s.nan_code;
  if (magnitude > kFloatInf) return nan;

  // |x| = significand * 2^(exponent - 23). FP32 subnormals have the exponent of the smallest normal; Inf
  // passes as 2^128.
  const int exponent = std::max(static_cast<int>(magnitude >> 23), 1) - 127;
  const uint64_t significand =
      (magnitude & (kFloatImplicitOne - 1)) | (magnitude >= kFloatImplicitOne ? kFloatImplicitOne : 0);
  const int below_normal = std::max(s.min_exponent() - exponent, 0);
  // From 56 on all bits are dropped and the fraction is below 2^-32, so a larger count changes nothing.
  const int dropped = std::min(23 - s.mantissa_bits + below_normal, 63);
  const uint64_t kept = significand >> dropped;
  const uint64_t rest = significand - (kept << dropped);

  bool up = false;
  if (rounding == Rounding::nearest_even) {
    const uint64_t one = uint64_t{1} << dropped;
    up = 2 * rest + (kept & 1) > one;
  } else if (rounding == Rounding::stochastic) {
    up = ((rest << 32) >> dropped) + random_bits > 0xffffffffu;
  }
  // The leading one of a normal result adds itself to the exponent field, and so does a carry of the
  // rounding.
  const int octave = std::max(exponent - s.min_exponent(), 0);
  const uint32_t code = (static_cast<uint32_t>(octave) << s.mantissa_bits) + static_cast<uint32_t>(kept) + up;
  if (code <= s.max_code) return code == 0 && !s.has_negative_zero ? 0 : sign | code;
  if (overflow == Overflow::saturate) return sign | s.max_code;
  return overflow == Overflow::inf && s.has_inf() ? sign | s.inf_code : nan;
}

/// The code of x in F; see above for the contract.
template <Format F>
constexpr Code<F> encode(float x, Rounding rounding, Overflow overflow, uint32_t random_bits = 0) noexcept {
  if constexpr (F == Format::bf16)
    if (rounding == Rounding::nearest_even && overflow == Overflow::inf) return bf16_from_float(x);
  return static_cast<Code<F>>(encode(spec(F), x, rounding, overflow, random_bits));
}

/// The same with the format chosen at run time; for tests, statistics and reference kernels.
constexpr uint32_t encode(Format format, float x, Rounding rounding, Overflow overflow,
                          uint32_t random_bits = 0) noexcept {
  return encode(spec(format), x, rounding, overflow, random_bits);
}

/// The number that is left of x after a trip through `format`.
constexpr float quantize_value(Format format, float x, Rounding rounding, Overflow overflow,
                               uint32_t random_bits = 0) noexcept {
  const FormatSpec s = spec(format);
  return decode(s, encode(s, x, rounding, overflow, random_bits));
}

}  // namespace octavo
