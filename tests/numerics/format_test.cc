// SPDX-License-Identifier: Apache-2.0
#include "octavo/numerics/format.h"

#include <gtest/gtest.h>

#include <cmath>

#include "octavo/numerics/decode.h"
#include "octavo/numerics/rounding.h"

namespace octavo {
namespace {

TEST(Format, NamesGoBothWays) {
  for (Format f : kAllFormats) EXPECT_EQ(format_from_string(to_string(f)), f) << to_string(f);
  for (Rounding r : kAllRoundings) EXPECT_EQ(rounding_from_string(to_string(r)), r);
  for (Overflow o : kAllOverflows) EXPECT_EQ(overflow_from_string(to_string(o)), o);
  EXPECT_EQ(to_string(Format::e5m2fnuz), "e5m2fnuz");
  EXPECT_EQ(to_string(Rounding::nearest_even), "nearest");
  EXPECT_EQ(format_from_string("E4M3"), std::nullopt);
  EXPECT_EQ(format_from_string(""), std::nullopt);
  EXPECT_EQ(rounding_from_string("nearest_even"), std::nullopt);
  EXPECT_EQ(overflow_from_string("clip"), std::nullopt);
}

TEST(Format, WidthsAddUp) {
  for (Format f : kAllFormats) {
    const FormatSpec s = spec(f);
    EXPECT_EQ(s.has_sign + s.exponent_bits + s.mantissa_bits, s.bits) << s.name;
    EXPECT_EQ(bytes(f) * 8, s.bits) << s.name;
  }
  static_assert(sizeof(Code<Format::e4m3>) == 1 && sizeof(Code<Format::bf16>) == 2 &&
                sizeof(Code<Format::fp32>) == 4);
}

TEST(Format, Limits) {
  struct Row {
    Format format;
    double max, normal, subnormal;
    bool inf;
  };
  const Row rows[] = {{Format::e4m3, 448, 0x1p-6, 0x1p-9, false},
                      {Format::e5m2, 57344, 0x1p-14, 0x1p-16, true},
                      {Format::e4m3fnuz, 240, 0x1p-7, 0x1p-10, false},
                      {Format::e5m2fnuz, 57344, 0x1p-15, 0x1p-17, false},
                      {Format::e8m0, 0x1p127, 0x1p-127, 0x1p-127, false},
                      {Format::bf16, 0x1.fep127, 0x1p-126, 0x1p-133, true},
                      {Format::fp16, 65504, 0x1p-14, 0x1p-24, true},
                      {Format::fp32, 0x1.fffffep127, 0x1p-126, 0x1p-149, true}};
  for (const Row& row : rows) {
    EXPECT_EQ(max_finite(row.format), row.max) << to_string(row.format);
    EXPECT_EQ(min_normal(row.format), row.normal) << to_string(row.format);
    EXPECT_EQ(min_subnormal(row.format), row.subnormal) << to_string(row.format);
    EXPECT_EQ(has_inf(row.format), row.inf) << to_string(row.format);
  }
}

}  // namespace
}  // namespace octavo
