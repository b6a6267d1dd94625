// SPDX-License-Identifier: Apache-2.0
#include "octavo/numerics/scale.h"

#include <gtest/gtest.h>

#include <climits>
#include <cmath>
#include <limits>

namespace octavo {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

TEST(Scale, PowersOfTwo) {
  for (int e = -149; e <= 127; ++e) EXPECT_EQ(exp2i(e), std::ldexp(1.0, e)) << e;
  EXPECT_EQ(exp2i(-150), 0.0f);
  EXPECT_EQ(exp2i(INT_MIN), 0.0f);
  EXPECT_EQ(exp2i(128), kInf);
  EXPECT_EQ(exp2i(INT_MAX), kInf);
  for (int b = -127; b <= 149; ++b) EXPECT_EQ(scale_from_bias(b), std::ldexp(1.0, -b)) << b;
  EXPECT_EQ(scale_from_bias(INT_MIN), kInf);
  EXPECT_EQ(scale_from_bias(INT_MAX), 0.0f);
}

/// The definition itself: b is the largest integer with amax * 2^b <= max, exact in double.
void check_bias(Format f, float amax) {
  const auto bias = pow2_bias(amax, f, 0);
  ASSERT_TRUE(bias.has_value()) << amax;
  const double max = max_finite(f);
  EXPECT_LE(std::ldexp(double{amax}, *bias), max) << to_string(f) << " " << amax;
  EXPECT_GT(std::ldexp(double{amax}, *bias + 1), max) << to_string(f) << " " << amax;
}

TEST(Scale, BiasForEveryExponentAndManyMantissas) {
  for (Format f : kAllFormats) {
    const uint32_t top = float_bits(max_finite(f)) & 0x7fffff;  // the mantissa the comparison turns at
    for (uint32_t field = 0; field < 255; ++field) {
      for (uint32_t mantissa :
           {0u, 1u, 2u, 0x200000u, 0x400000u, 0x600000u, 0x7ffffeu, 0x7fffffu, top - 1, top, top + 1}) {
        const uint32_t bits = field << 23 | (mantissa & 0x7fffff);
        if (bits != 0) check_bias(f, float_from_bits(bits));
      }
    }
    for (int shift = 0; shift < 23;
         ++shift) {  // subnormal amax with every leading bit, and the turning point there
      check_bias(f, float_from_bits(1u << shift));
      check_bias(f, float_from_bits((1u << shift) + (top >> (23 - shift))));
      check_bias(f, float_from_bits((2u << shift) - 1));
    }
  }
}

TEST(Scale, BiasByHand) {
  static_assert(pow2_bias(448.0f, Format::e4m3, 0) == 0);
  EXPECT_EQ(pow2_bias(std::nextafter(448.0f, kInf), Format::e4m3, 0), -1);
  EXPECT_EQ(pow2_bias(std::nextafter(448.0f, 0.0f), Format::e4m3, 0), 0);
  EXPECT_EQ(pow2_bias(224.0f, Format::e4m3, 0), 1);
  EXPECT_EQ(pow2_bias(1.0f, Format::e4m3, 0), 8);
  EXPECT_EQ(pow2_bias(1.75f, Format::e4m3, 0), 8);
  EXPECT_EQ(pow2_bias(1.76f, Format::e4m3, 0), 7);
  EXPECT_EQ(pow2_bias(1.0f, Format::e4m3fnuz, 0), 7);
  EXPECT_EQ(pow2_bias(1.0f, Format::e5m2, 3), 12);
  EXPECT_EQ(pow2_bias(0x1p-149f, Format::e4m3, 0), 157);
  EXPECT_EQ(pow2_bias(1.0f, Format::e4m3, INT_MIN), INT_MAX);
  EXPECT_EQ(pow2_bias(1.0f, Format::e4m3, INT_MAX), 8 - INT_MAX);
}

TEST(Scale, ClipComesAfterTheMargin) {
  EXPECT_EQ(pow2_bias(0x1p-30f, Format::e5m2, 3, kPaperBiasRange), 31);  // 45 - 3, clipped
  EXPECT_EQ(pow2_bias(0x1p-17f, Format::e5m2, 3, kPaperBiasRange),
            29);  // 32 - 3: clipping first would give 28
  EXPECT_EQ(pow2_bias(0x1p100f, Format::e5m2, 0, kPaperBiasRange), -31);
  EXPECT_EQ(pow2_bias(0x1p-149f, Format::e4m3, 0, kFloatBiasRange), 126);
  EXPECT_EQ(pow2_bias(0.0f, Format::e4m3, 0, kPaperBiasRange), std::nullopt);
}

TEST(Scale, UnusableAmax) {
  for (float amax : {0.0f, -0.0f, -1.0f, kInf, -kInf, std::nanf("")}) {
    EXPECT_FALSE(usable_amax(amax));
    EXPECT_EQ(pow2_bias(amax, Format::e4m3, 0), std::nullopt);
    EXPECT_EQ(amax_scale(amax, Format::e4m3), std::nullopt);
  }
}

TEST(Scale, AmaxScale) {
  EXPECT_EQ(amax_scale(448.0f, Format::e4m3), 1.0f);
  EXPECT_EQ(amax_scale(1.0f, Format::e4m3), 1.0f / 448.0f);
  EXPECT_EQ(amax_scale(3.0f, Format::e5m2), 3.0f / 57344.0f);
  EXPECT_EQ(amax_scale(0x1p-149f, Format::e4m3), std::nullopt);  // the quotient is 0
}

}  // namespace
}  // namespace octavo
