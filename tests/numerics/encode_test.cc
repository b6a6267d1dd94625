// SPDX-License-Identifier: Apache-2.0
#include "octavo/numerics/encode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "tests/numerics/integer_model.h"

namespace octavo {
namespace {

constexpr auto kNearest = Rounding::nearest_even;
constexpr auto kTruncate = Rounding::truncate;
constexpr auto kStochastic = Rounding::stochastic;
constexpr float kInf = std::numeric_limits<float>::infinity();

uint32_t some_random(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352d;
  x = (x ^ x >> 15) * 0x846ca68b;
  return x ^ x >> 16;
}

/// 3.1 million inputs for each format: all upper halves, with lower halves at every multiple of 2^12 and one
/// beside it. All numbers and all midpoints of every format are among them, except below half of the smallest
/// number.
template <Format F>
void check_against_model() {
  const IntegerModel model(F);
  int64_t mismatches = 0;
  for (uint32_t upper = 0; upper < 65536; ++upper) {
    for (uint32_t k = 0; k < 48; ++k) {
      const uint32_t bits = (upper << 16 | (k / 3) << 12) + (k % 3) - 1;
      const float x = float_from_bits(bits);
      const IntegerModel::Place place = model.locate(bits);
      for (Overflow o : kAllOverflows) {
        const uint32_t random = k % 7 == 0 ? 0xffffffffu : k % 5 == 0 ? 0u : some_random(bits);
        for (Rounding r : kAllRoundings) {
          const uint32_t expected = model.encode(place, r, o, random), actual = encode<F>(x, r, o, random);
          if (actual != expected && ++mismatches <= 5)
            ADD_FAILURE() << to_string(F) << " " << to_string(r) << " " << to_string(o) << " bits "
                          << std::hex << bits << " random " << random << ": got " << actual << ", expected "
                          << expected;
        }
      }
    }
  }
  EXPECT_EQ(mismatches, 0) << to_string(F);
}

TEST(Encode, ModelE4m3) { check_against_model<Format::e4m3>(); }
TEST(Encode, ModelE5m2) { check_against_model<Format::e5m2>(); }
TEST(Encode, ModelE4m3fnuz) { check_against_model<Format::e4m3fnuz>(); }
TEST(Encode, ModelE5m2fnuz) { check_against_model<Format::e5m2fnuz>(); }
TEST(Encode, ModelE8m0) { check_against_model<Format::e8m0>(); }
TEST(Encode, ModelBf16) { check_against_model<Format::bf16>(); }
TEST(Encode, ModelFp16) { check_against_model<Format::fp16>(); }

/// The runs the exhaustive sweep walks on say the same as the model's answers for single inputs.
TEST(Encode, ModelSegmentsAgreeWithSingleAnswers) {
  for (Format f : {Format::e4m3, Format::e5m2fnuz, Format::e8m0, Format::bf16, Format::fp16}) {
    const IntegerModel model(f);
    for (Rounding r : kAllRoundings) {
      uint64_t next = 0;
      int64_t mismatches = 0;
      model.for_segments(0, uint64_t{1} << 32, r, Overflow::inf, [&](const IntegerModel::Segment& s) {
        ASSERT_EQ(s.first, next);
        ASSERT_LT(s.first, s.end);
        next = s.end;
        for (uint64_t at : {s.first, s.first + (s.end - s.first) / 3, s.end - 1}) {
          const uint32_t bits = static_cast<uint32_t>(at), random = some_random(bits);
          mismatches += s.expected(bits, random) != model.encode(bits, r, Overflow::inf, random);
        }
      });
      EXPECT_EQ(next, uint64_t{1} << 32);
      EXPECT_EQ(mismatches, 0) << to_string(f) << " " << to_string(r);
    }
  }
}

TEST(Encode, RunTimeFormatIsTheSame) {
  for (uint64_t at = 0; at < uint64_t{1} << 32; at += 4099) {
    const uint32_t bits = static_cast<uint32_t>(at), random = some_random(bits);
    const float x = float_from_bits(bits);
    ASSERT_EQ(encode(Format::bf16, x, kNearest, Overflow::inf), bf16_from_float(x)) << bits;
    ASSERT_EQ(encode(Format::e5m2, x, kStochastic, Overflow::nan, random),
              encode<Format::e5m2>(x, kStochastic, Overflow::nan, random));
    const float y = quantize_value(Format::fp16, x, kTruncate, Overflow::saturate);
    ASSERT_EQ(float_bits(y),
              float_bits(decode<Format::fp16>(encode<Format::fp16>(x, kTruncate, Overflow::saturate))));
  }
}

TEST(Encode, OneRoundingOnly) {
  // Through FP16 this would become 1.0625 first, a tie, and then 1.0.
  EXPECT_EQ(quantize_value(Format::e4m3, 1.0625001f, kNearest, Overflow::saturate), 1.125f);
  const float twice =
      quantize_value(Format::e4m3, quantize_value(Format::fp16, 1.0625001f, kNearest, Overflow::inf),
                     kNearest, Overflow::saturate);
  EXPECT_EQ(twice, 1.0f);
  EXPECT_EQ(quantize_value(Format::e4m3, 1.0625f, kNearest, Overflow::saturate), 1.0f);
  EXPECT_EQ(quantize_value(Format::e4m3, 1.1875f, kNearest, Overflow::saturate), 1.25f);
}

TEST(Encode, WhereOverflowBegins) {
  struct Row {
    Format format;
    float max, step;
    bool tie_stays;
  };
  const Row rows[] = {{Format::e4m3, 448, 32, true},      {Format::e5m2, 57344, 8192, false},
                      {Format::e4m3fnuz, 240, 16, false}, {Format::e5m2fnuz, 57344, 8192, false},
                      {Format::fp16, 65504, 32, false},   {Format::bf16, 0x1.fep127f, 0x1p120f, false}};
  for (const Row& row : rows) {
    for (const float sign : {1.0f, -1.0f}) {
      const auto q = [&](float x, Rounding r, Overflow o, uint32_t random = 0) {
        return quantize_value(row.format, sign * x, r, o, random) * sign;
      };
      const auto name = to_string(row.format);
      const float tie = row.max + row.step / 2, next = row.max + (row.step - row.step / 256);
      EXPECT_EQ(q(std::nextafter(tie, 0.0f), kNearest, Overflow::nan), row.max) << name;
      EXPECT_EQ(std::isnan(q(tie, kNearest, Overflow::nan)), !row.tie_stays) << name;
      EXPECT_TRUE(std::isnan(q(std::nextafter(tie, kInf), kNearest, Overflow::nan))) << name;
      EXPECT_EQ(q(next, kTruncate, Overflow::nan), row.max) << name;
      EXPECT_TRUE(std::isnan(q(row.max + row.step, kTruncate, Overflow::nan))) << name;
      EXPECT_EQ(q(tie, kStochastic, Overflow::nan, 0x7fffffff), row.max) << name;
      EXPECT_TRUE(std::isnan(q(tie, kStochastic, Overflow::nan, 0x80000000))) << name;
      EXPECT_EQ(q(row.max, kStochastic, Overflow::nan, 0xffffffff), row.max) << name;
      for (Rounding r : kAllRoundings) {
        EXPECT_EQ(q(kInf, r, Overflow::saturate), row.max) << name;
        EXPECT_EQ(q(3.4e38f, r, Overflow::saturate, 0xffffffff), row.max) << name;
        EXPECT_TRUE(std::isnan(q(kInf, r, Overflow::nan))) << name;
        const float infinite = q(kInf, r, Overflow::inf);
        if (has_inf(row.format)) {
          EXPECT_EQ(infinite, kInf) << name;
        } else {
          EXPECT_TRUE(std::isnan(infinite)) << name;
        }
      }
    }
  }
}

TEST(Encode, ZerosAndNans) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float signaling = float_from_bits(0xff800001);
  for (Rounding r : kAllRoundings) {
    EXPECT_EQ(encode<Format::e4m3>(-0.0f, r, Overflow::saturate, 0xffffffff), 0x80);
    EXPECT_EQ(encode<Format::e4m3fnuz>(-0.0f, r, Overflow::saturate, 0xffffffff), 0x00);
    EXPECT_EQ(encode<Format::e5m2fnuz>(-1e-30f, r, Overflow::saturate, 0), 0x00);
    EXPECT_EQ(encode<Format::e5m2>(-1e-30f, r, Overflow::saturate, 0), 0x80);
    for (Overflow o : kAllOverflows) {
      EXPECT_EQ(encode<Format::e4m3>(nan, r, o), 0x7f);
      EXPECT_EQ(encode<Format::e4m3>(signaling, r, o), 0xff);
      EXPECT_EQ(encode<Format::e5m2>(nan, r, o), 0x7e);
      EXPECT_EQ(encode<Format::e4m3fnuz>(signaling, r, o), 0x80);
      EXPECT_EQ(encode<Format::e5m2fnuz>(nan, r, o), 0x80);
      EXPECT_EQ(encode<Format::bf16>(signaling, r, o), 0xffc0);
      EXPECT_EQ(encode<Format::fp16>(nan, r, o), 0x7e00);
      EXPECT_EQ(encode<Format::e8m0>(nan, r, o), 0xff);
      EXPECT_EQ(encode<Format::e8m0>(-1.0f, r, o), 0xff);
    }
  }
}

TEST(Encode, Fp32IsTheIdentity) {
  for (uint64_t at = 0; at < uint64_t{1} << 32; at += 4099) {
    const uint32_t bits = static_cast<uint32_t>(at), magnitude = bits & 0x7fffffff;
    for (Rounding r : kAllRoundings) {
      const uint32_t code = encode<Format::fp32>(float_from_bits(bits), r, Overflow::inf, 0xffffffff);
      ASSERT_EQ(code, magnitude > 0x7f800000 ? (bits & 0x80000000) | 0x7fc00000 : bits) << to_string(r);
    }
  }
  EXPECT_EQ(quantize_value(Format::fp32, -kInf, kNearest, Overflow::saturate),
            -std::numeric_limits<float>::max());
  EXPECT_EQ(quantize_value(Format::fp32, kInf, kNearest, Overflow::inf), kInf);
}

TEST(Encode, E8m0Modes) {
  const auto code = [](float x, PowerRounding r) { return encode_e8m0(x, r, Overflow::nan); };
  for (int e = -127; e < 127; ++e) {
    const float power = exp2i(e), next = exp2i(e + 1);
    const uint8_t at = static_cast<uint8_t>(e + 127), above = static_cast<uint8_t>(at + 1);
    const float middle = power + power / 2;
    for (auto r : {PowerRounding::floor, PowerRounding::nearest, PowerRounding::ceil})
      EXPECT_EQ(code(power, r), at);
    for (float x : {std::nextafter(power, next), middle, std::nextafter(next, power)}) {
      EXPECT_EQ(code(x, PowerRounding::floor), at) << e;
      EXPECT_EQ(code(x, PowerRounding::ceil), above) << e;
      const uint8_t nearer = x < middle ? at : x > middle ? above : at % 2 ? above : at;
      EXPECT_EQ(code(x, PowerRounding::nearest), nearer) << e;
    }
  }
  for (float tiny : {0.0f, -0.0f, 0x1p-149f, 0x1.fffffcp-128f}) EXPECT_EQ(code(tiny, PowerRounding::ceil), 0);
  EXPECT_EQ(code(0x1.8p127f, PowerRounding::floor), 0xfe);
  EXPECT_EQ(code(0x1.8p127f, PowerRounding::nearest), 0xfe);
  EXPECT_EQ(code(0x1.800002p127f, PowerRounding::nearest), 0xff);
  EXPECT_EQ(code(0x1.000002p127f, PowerRounding::ceil), 0xff);
  EXPECT_EQ(encode_e8m0(0x1.000002p127f, PowerRounding::ceil, Overflow::saturate), 0xfe);
  EXPECT_EQ(encode_e8m0(kInf, PowerRounding::floor, Overflow::saturate), 0xfe);
  EXPECT_EQ(encode_e8m0(kInf, PowerRounding::floor, Overflow::inf), 0xff);
  EXPECT_EQ(encode_e8m0(-kInf, PowerRounding::floor, Overflow::saturate), 0xff);
}

}  // namespace
}  // namespace octavo
