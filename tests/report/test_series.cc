// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/series.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace octavo {
namespace {

Series noisy(size_t count) {
  Series out;
  for (size_t i = 0; i < count; ++i)
    out.add(static_cast<double>(3 * i), std::sin(static_cast<double>(i * i)));
  return out;
}

TEST(Series, DownsamplingKeepsEndsAndEveryExtreme) {
  Series series = noisy(10000);
  series.y[4321] = 50;
  series.y[4322] = -70;
  const Series small = downsample(series, 100);
  EXPECT_LE(small.x.size(), 100u);
  EXPECT_GE(small.x.size(), 90u);
  EXPECT_EQ(small.of, 10000);
  EXPECT_EQ(small.x.front(), 0);
  EXPECT_EQ(small.x.back(), 29997);
  EXPECT_TRUE(std::is_sorted(small.x.begin(), small.x.end()));
  EXPECT_EQ(std::adjacent_find(small.x.begin(), small.x.end()), small.x.end());
  EXPECT_EQ(*std::max_element(small.y.begin(), small.y.end()), 50);
  EXPECT_EQ(*std::min_element(small.y.begin(), small.y.end()), -70);
  for (size_t i = 0; i < small.x.size(); ++i)
    EXPECT_EQ(small.y[i], series.y[static_cast<size_t>(small.x[i]) / 3]) << "a point that was not there";
}

TEST(Series, ShortOnesStayAsTheyAre) {
  const Series series = noisy(100);
  EXPECT_EQ(downsample(series, 100).x, series.x);
  EXPECT_EQ(downsample(Series(), 10).x.size(), 0u);
  EXPECT_EQ(downsample(noisy(7), 0).x.size(), 4u);
}

TEST(Series, WhatIsNotFiniteIsLeftOut) {
  Series series;
  series.add(1, std::numeric_limits<double>::quiet_NaN());
  series.add(2, 5);
  series.add(3, std::numeric_limits<double>::infinity());
  EXPECT_EQ(series.x, std::vector<double>{2});
  Band band;
  band.add(1, {std::numeric_limits<double>::quiet_NaN()});
  EXPECT_TRUE(band.x.empty());
  band.add(2, {3, std::numeric_limits<double>::quiet_NaN(), 1, 2});
  EXPECT_EQ(band.low, std::vector<double>{1});
  EXPECT_EQ(band.median, std::vector<double>{2});
  EXPECT_EQ(band.high, std::vector<double>{3});
}

TEST(Series, BandsKeepTheirExtremes) {
  Band band;
  for (int i = 0; i < 1000; ++i) band.add(i, {i == 777 ? -9.0 : 0.0, 1, i == 333 ? 40.0 : 2.0});
  const Band small = downsample(band, 20);
  EXPECT_EQ(small.x.size(), 20u);
  EXPECT_EQ(small.x.front(), 0);
  EXPECT_EQ(small.x.back(), 999);
  EXPECT_EQ(*std::min_element(small.low.begin(), small.low.end()), -9);
  EXPECT_EQ(*std::max_element(small.high.begin(), small.high.end()), 40);
  EXPECT_EQ(small.median, std::vector<double>(20, 1.0));
  EXPECT_EQ(small.of, 1000);
}

TEST(Series, RunningMean) {
  Series series;
  for (const double v : {4.0, 2.0, 6.0, 8.0}) series.add(static_cast<double>(series.x.size()), v);
  EXPECT_EQ(running_mean(series, 2).y, (std::vector<double>{4, 3, 4, 7}));
  EXPECT_EQ(running_mean(series, 1).y, series.y);
  EXPECT_EQ(running_mean(series, 100).y.back(), 5);
  EXPECT_EQ(smoothing_window(0), 1u);
  EXPECT_EQ(smoothing_window(300), 10u);
  EXPECT_EQ(smoothing_window(1000000), 500u);
}

TEST(Series, MedianAndRounding) {
  EXPECT_TRUE(std::isnan(median({})));
  EXPECT_EQ(median({3, 1, 2}), 2);
  EXPECT_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(significant(123456, 3), 123000);
  EXPECT_EQ(significant(-0.00123456, 2), -0.0012);
  EXPECT_EQ(significant(0, 3), 0);
  EXPECT_TRUE(std::isnan(significant(std::nan(""), 3)));
}

}  // namespace
}  // namespace octavo
