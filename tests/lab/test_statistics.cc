// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "octavo/base/rng.h"

namespace octavo {
namespace {

// Two-sided quantiles as every table of Student's distribution prints them.
TEST(LabStatistics, StudentQuantiles) {
  EXPECT_NEAR(student_quantile(0.95, 1), 12.7062, 5e-5);
  EXPECT_NEAR(student_quantile(0.95, 2), 4.30265, 5e-6);
  EXPECT_NEAR(student_quantile(0.95, 3), 3.18245, 5e-6);
  EXPECT_NEAR(student_quantile(0.95, 4), 2.77645, 5e-6);
  EXPECT_NEAR(student_quantile(0.95, 9), 2.26216, 5e-6);
  EXPECT_NEAR(student_quantile(0.95, 30), 2.04227, 5e-6);
  EXPECT_NEAR(student_quantile(0.95, 100000), 1.95999, 5e-5);
  EXPECT_NEAR(student_quantile(0.99, 5), 4.03214, 5e-6);
  EXPECT_NEAR(student_quantile(0.5, 1), 1.0, 1e-12);  // Cauchy: half lies within -1..1
}

TEST(LabStatistics, MeanAndBand) {
  const Estimate e = estimate({1, 2, 3});
  EXPECT_DOUBLE_EQ(e.mean, 2);
  EXPECT_NEAR(e.band, 4.30265 / std::sqrt(3.0), 1e-5);  // s = 1
  EXPECT_EQ(e.count, 3u);
  EXPECT_DOUBLE_EQ(estimate({5, 5, 5, 5}).band, 0);
}

TEST(LabStatistics, OneSeedHasNoBandAndNoneNoMean) {
  const Estimate one = estimate({3.5});
  EXPECT_DOUBLE_EQ(one.mean, 3.5);
  EXPECT_TRUE(std::isnan(one.band));
  EXPECT_FALSE(differs(one));
  const Estimate none = estimate({});
  EXPECT_TRUE(std::isnan(none.mean));
  EXPECT_EQ(none.count, 0u);
  EXPECT_EQ(estimate({NAN, 2, INFINITY, 4}).count, 2u);
  EXPECT_DOUBLE_EQ(estimate({NAN, 2, INFINITY, 4}).mean, 3);
}

TEST(LabStatistics, PairingCancelsWhatSeedsShare) {
  // Seeds spread by 20 %, every recipe run 1 % above its baseline.
  const std::vector<double> base{4, 4.4, 4.8}, above{4.04, 4.444, 4.848};
  const Estimate paired = paired_percent(above, base);
  EXPECT_NEAR(paired.mean, 1, 1e-12);
  EXPECT_LT(paired.band, 1e-10);
  EXPECT_TRUE(differs(paired));
  EXPECT_GT(estimate(above).band, 0.9);  // unpaired, nothing would be seen
  EXPECT_TRUE(differs(paired_percent(base, above)));
  EXPECT_LT(paired_percent(base, above).mean, 0);
}

TEST(LabStatistics, APairWithADivergedRunIsLeftOut) {
  const Estimate e = paired_percent({4.4, NAN, 4.2}, {4, 4, NAN});
  EXPECT_EQ(e.count, 1u);
  EXPECT_NEAR(e.mean, 10, 1e-12);
  EXPECT_FALSE(differs(e));
  EXPECT_FALSE(differs(paired_percent({4.1, 3.9}, {4, 4})));
}

// The promise of the interval itself, on normal noise: 95 of 100 hold the true mean.
TEST(LabStatistics, TheIntervalHoldsTheMeanAsOftenAsItSays) {
  const Rng rng(7);
  uint64_t at = 0;
  const auto uniform = [&] {
    return (static_cast<double>(rng.integer(at++) >> 11) + 0.5) / 9007199254740992.0;
  };
  int held = 0;
  constexpr int kTrials = 4000;
  for (int trial = 0; trial < kTrials; ++trial) {
    std::vector<double> values;
    for (int i = 0; i < 3; ++i)
      values.push_back(10 + std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()));
    const Estimate e = estimate(values);
    held += std::fabs(e.mean - 10) <= e.band;
  }
  EXPECT_NEAR(static_cast<double>(held) / kTrials, kConfidence, 0.015);  // four standard errors
}

}  // namespace
}  // namespace octavo
