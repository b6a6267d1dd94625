// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/format_facts.h"

#include <gtest/gtest.h>

#include <cmath>

namespace octavo {
namespace {

TEST(FormatFacts, IdealSnrAgreesWithTheClosedForm) {
  // Values even in log2 over [1, 2): E x^2 = 1.5 / ln 2; errors even within a spacing of 2^-m: E e^2 = 4^-m
  // / 12.
  for (const auto& [format, mantissa] :
       {std::pair{Format::e4m3, 3}, {Format::e5m2, 2}, {Format::e4m3fnuz, 3}, {Format::e5m2fnuz, 2}}) {
    const double closed = 10 * std::log10(18 / std::log(2.0) * std::pow(4.0, mantissa));
    EXPECT_NEAR(ideal_snr_db(format), closed, 0.02) << to_string(format);
  }
  EXPECT_GT(ideal_snr_db(Format::e4m3), ideal_snr_db(Format::e5m2) + 5.9);
}

TEST(FormatFacts, LimitsOfTheOcpFormats) {
  const auto e4m3 = format_facts("e4m3");
  ASSERT_TRUE(e4m3);
  EXPECT_EQ(e4m3->max, 448);
  EXPECT_EQ(e4m3->min_normal, std::ldexp(1.0, -6));
  EXPECT_EQ(e4m3->min_subnormal, std::ldexp(1.0, -9));
  const auto e5m2 = format_facts("e5m2");
  ASSERT_TRUE(e5m2);
  EXPECT_EQ(e5m2->max, 57344);
  EXPECT_EQ(e5m2->min_normal, std::ldexp(1.0, -14));
  EXPECT_EQ(e5m2->min_subnormal, std::ldexp(1.0, -16));
}

TEST(FormatFacts, NothingForOtherWords) {
  for (const char* word : {"", "e8m0", "bf16", "fp32", "e3m4", "</script>"})
    EXPECT_FALSE(format_facts(word)) << word;
}

}  // namespace
}  // namespace octavo
