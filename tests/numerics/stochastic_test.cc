// SPDX-License-Identifier: Apache-2.0
// Stochastic rounding is unbiased by count, not by sampling: the random words that round away from zero are
// counted.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

constexpr auto kStochastic = Rounding::stochastic;

uint32_t lower_code(Format f, float x) { return encode(f, x, Rounding::truncate, Overflow::inf); }

/// The exact fraction of the way from the lower neighbour, from decoded values alone.
double fraction(Format f, float x) {
  const uint32_t low = lower_code(f, x);
  const double a = std::fabs(double{decode(f, low)}), b = std::fabs(double{decode(f, low + 1)});
  return (std::fabs(double{x}) - a) / (b - a);
}

/// All 2^16 words that differ in the upper half; x must have a fraction in units of 2^-16.
TEST(Stochastic, EveryWordCountedOnAReducedWord) {
  for (Format f : {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz, Format::e8m0, Format::bf16,
                   Format::fp16}) {
    const double step = exp2i(-mantissa_bits(f));
    for (const double part : {0.0, 1.0, 2.0, 12345.0, 32767.0, 32768.0, 40000.0, 65535.0}) {
      // A normal result, and (in formats that have them) one between 2 and 3 of the smallest subnormals.
      const double unit = min_subnormal(f);
      // Only 13 bits of an FP32 number lie below a normal one of fp16.
      const double normal = 1.0 + step * (f == Format::fp16 ? std::floor(part / 8) * 8 : part) * 0x1p-16;
      const double small = (2.0 + (f == Format::e8m0 ? 0.0 : part * 0x1p-16)) * unit;
      for (const double exact : {normal, small, -normal, -small}) {
        const float x = static_cast<float>(exact);
        ASSERT_EQ(x, exact) << to_string(f);
        if (f == Format::e8m0 && exact < 0) continue;
        const uint32_t low = lower_code(f, x);
        uint32_t away = 0;
        for (uint32_t word = 0; word < 65536; ++word) {
          const uint32_t code = encode(f, x, kStochastic, Overflow::inf, word << 16);
          ASSERT_TRUE(code == low || code == low + 1);
          away += code == low + 1;
        }
        EXPECT_EQ(away, fraction(f, x) * 65536.0) << to_string(f) << " " << x;
      }
    }
  }
}

/// For inputs with many dropped bits the threshold in the random word is found by bisection: the words from
/// there on, and only those, round away, so their number is 2^32 - threshold.
TEST(Stochastic, CountIsTheExactFractionOfThirtyTwoBits) {
  for (Format f :
       {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz, Format::bf16, Format::fp16}) {
    const int lowest = spec(f).min_exponent() - spec(f).mantissa_bits - 40;
    for (int e = std::max(lowest, -149); e < 7; ++e) {
      for (const uint32_t mantissa : {0u, 1u, 0x2aaaabu, 0x400000u, 0x400001u, 0x7fffffu}) {
        const float x = e < -126 ? exp2i(e) : exp2i(e) * float_from_bits(0x3f800000 | mantissa);
        const uint32_t low = lower_code(f, x);
        uint64_t none = 0,
                 away = uint64_t{1} << 32;  // [none, away): where the first word may be that rounds away
        while (none < away) {
          const uint64_t middle = (none + away) / 2;
          const bool stays = encode(f, x, kStochastic, Overflow::inf, static_cast<uint32_t>(middle)) == low;
          (stays ? none : away) = stays ? middle + 1 : middle;
        }
        const double count = static_cast<double>((uint64_t{1} << 32) - none);
        EXPECT_EQ(count, std::floor(fraction(f, x) * 0x1p32)) << to_string(f) << " " << e << " " << mantissa;
        // Nothing is lost by the floor unless more than 32 bits are dropped.
        if (e >= spec(f).min_exponent() - spec(f).mantissa_bits - 9) {
          EXPECT_EQ(count, fraction(f, x) * 0x1p32);
        }
      }
    }
  }
}

/// The full word, all 2^20 values of its used part, for one awkward input.
TEST(Stochastic, AllTwentyBitsOfOneInput) {
  const float x = float_from_bits(0x3f800000 | 0x9abcd);  // 20 bits below the e4m3 mantissa of 1.0
  uint32_t away = 0;
  for (uint32_t word = 0; word < 1u << 20; ++word)
    away += encode<Format::e4m3>(x, kStochastic, Overflow::nan, word << 12 | 0xfff) == 0x39;
  EXPECT_EQ(away, 0x9abcdu);
}

/// For a fixed word a larger input never gets a smaller code.
TEST(Stochastic, MonotoneForAFixedWord) {
  for (uint32_t random : {0u, 1u, 0x12345678u, 0x80000000u, 0xffffffffu}) {
    uint32_t last = 0;
    for (uint32_t bits = 0; bits <= 0x7f800000; bits += 1021) {
      const uint32_t code = encode<Format::e5m2>(float_from_bits(bits), kStochastic, Overflow::inf, random);
      ASSERT_GE(code, last) << bits;
      last = code;
    }
  }
}

}  // namespace
}  // namespace octavo
