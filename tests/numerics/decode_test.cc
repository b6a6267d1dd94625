// SPDX-License-Identifier: Apache-2.0
#include "octavo/numerics/decode.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "octavo/numerics/bf16.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

/// The textbook formula in double, from literal field widths.
double formula(uint32_t code, int exponent_bits, int mantissa_bits, int bias) {
  const uint32_t mantissa = code & ((1u << mantissa_bits) - 1);
  const uint32_t field = code >> mantissa_bits & ((1u << exponent_bits) - 1);
  const double sign = code >> (exponent_bits + mantissa_bits) & 1 ? -1 : 1;
  const double fraction = static_cast<double>(mantissa) / (1u << mantissa_bits);
  if (field == 0) return sign * fraction * std::pow(2.0, 1 - bias);
  return sign * (1 + fraction) * std::pow(2.0, static_cast<int>(field) - bias);
}

void expect_same(float actual, double expected, const char* name, uint32_t code) {
  if (std::isnan(expected)) {
    EXPECT_TRUE(std::isnan(actual)) << name << " " << code;
    return;
  }
  EXPECT_EQ(actual, expected) << name << " " << code;
  EXPECT_EQ(std::signbit(actual), std::signbit(expected)) << name << " " << code;
}

TEST(Decode, EveryEightBitCode) {
  const double nan = std::nan(""), inf = HUGE_VAL;
  for (uint32_t c = 0; c < 256; ++c) {
    const uint32_t magnitude = c & 0x7f;
    const double sign = c & 0x80 ? -1 : 1;
    expect_same(decode(Format::e4m3, c), magnitude == 0x7f ? nan : formula(c, 4, 3, 7), "e4m3", c);
    const double e5m2 = magnitude > 0x7c ? nan : magnitude == 0x7c ? sign * inf : formula(c, 5, 2, 15);
    expect_same(decode(Format::e5m2, c), e5m2, "e5m2", c);
    expect_same(decode(Format::e4m3fnuz, c), c == 0x80 ? nan : formula(c, 4, 3, 8), "e4m3fnuz", c);
    expect_same(decode(Format::e5m2fnuz, c), c == 0x80 ? nan : formula(c, 5, 2, 16), "e5m2fnuz", c);
    expect_same(decode(Format::e8m0, c), c == 0xff ? nan : std::pow(2.0, static_cast<int>(c) - 127), "e8m0",
                c);
  }
}

TEST(Decode, EverySixteenBitCode) {
  const double nan = std::nan(""), inf = HUGE_VAL;
  for (uint32_t c = 0; c < 65536; ++c) {
    const uint32_t magnitude = c & 0x7fff;
    const double sign = c & 0x8000 ? -1 : 1;
    const double bf16 = magnitude > 0x7f80 ? nan : magnitude == 0x7f80 ? sign * inf : formula(c, 8, 7, 127);
    expect_same(decode(Format::bf16, c), bf16, "bf16", c);
    expect_same(bf16_to_float(static_cast<uint16_t>(c)), bf16, "bf16_to_float", c);
    const double fp16 = magnitude > 0x7c00 ? nan : magnitude == 0x7c00 ? sign * inf : formula(c, 5, 10, 15);
    expect_same(decode(Format::fp16, c), fp16, "fp16", c);
  }
}

template <Format F>
void check_table() {
  for (uint32_t c = 0; c < 256; ++c) {
    EXPECT_EQ(float_bits(kDecodeTable<F>[c]), float_bits(decode(F, c))) << to_string(F) << " " << c;
    EXPECT_EQ(float_bits(decode<F>(static_cast<uint8_t>(c))), float_bits(decode(F, c)))
        << to_string(F) << " " << c;
  }
}

TEST(Decode, TablesHoldTheSame) {
  check_table<Format::e4m3>();
  check_table<Format::e5m2>();
  check_table<Format::e4m3fnuz>();
  check_table<Format::e5m2fnuz>();
  check_table<Format::e8m0>();
  static_assert(kDecodeTable<Format::e4m3>[0x7e] == 448.0f);
  static_assert(decode<Format::fp16>(0x3c00) == 1.0f);
}

/// What a format holds survives the way there and back under every rounding, whatever the random bits.
TEST(Decode, EncodeReturnsEveryNumberHeld) {
  for (Format f : kAllFormats) {
    if (f == Format::fp32) continue;
    const uint32_t codes = 1u << spec(f).bits;
    for (uint32_t c = 0; c < codes; ++c) {
      const float x = decode(f, c);
      for (Rounding r : kAllRoundings) {
        if (std::isnan(x)) {
          EXPECT_TRUE(std::isnan(quantize_value(f, x, r, Overflow::saturate, 0xffffffff)))
              << to_string(f) << c;
        } else {
          EXPECT_EQ(encode(f, x, r, Overflow::inf, 0xffffffff), c) << to_string(f) << " " << to_string(r);
          EXPECT_EQ(encode(f, x, r, Overflow::inf, 0), c) << to_string(f) << " " << to_string(r);
        }
      }
    }
  }
}

}  // namespace
}  // namespace octavo
