// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <vector>

namespace octavo {
namespace {

TEST(Statistics, Shares) {
  QuantizeStats stats;
  EXPECT_EQ(underflow_share(stats), 0.0);
  EXPECT_EQ(saturation_share(stats), 0.0);
  EXPECT_TRUE(std::isnan(snr_db(stats)));
  stats.count = 200;
  stats.nonzero = 160;
  stats.underflow = 40;
  stats.saturated = 5;
  stats.signal = 1000;
  EXPECT_EQ(underflow_share(stats), 0.25);
  EXPECT_EQ(saturation_share(stats), 0.025);
  EXPECT_EQ(snr_db(stats), std::numeric_limits<double>::infinity());
  stats.noise = 1;
  EXPECT_DOUBLE_EQ(snr_db(stats), 30.0);
}

TEST(Statistics, ExponentsAgreeWithASortedList) {
  QuantizeStats stats;
  EXPECT_EQ(exponent_summary(stats).count, 0);
  std::vector<int> all;
  for (int i = 0; i < 1000; ++i) {
    const int exponent = -100 + (i * i * 7 + i) % 180;
    all.push_back(exponent);
    ++stats.exponents[exponent + 127];
  }
  stats.exponents[0] = 12345;   // zeros
  stats.exponents[255] = 6789;  // infinities and NaNs
  std::sort(all.begin(), all.end());
  const ExponentSummary s = exponent_summary(stats);
  EXPECT_EQ(s.count, 1000);
  EXPECT_EQ(s.lowest, all.front());
  EXPECT_EQ(s.p01, all[9]);
  EXPECT_EQ(s.median, all[499]);
  EXPECT_EQ(s.p99, all[990]);
  EXPECT_EQ(s.highest, all.back());

  QuantizeStats ends;
  ends.exponents[1] = ends.exponents[254] = 1;
  EXPECT_EQ(exponent_summary(ends).lowest, -126);
  EXPECT_EQ(exponent_summary(ends).highest, 127);
}

TEST(Statistics, RecordsAreValidJson) {
  QuantizeStats stats;
  stats.count = stats.nonzero = 8;
  stats.underflow = 1;
  stats.signal = 1;
  stats.noise = 1e-3;
  TensorRecord record;
  record.step = 12;
  record.tensor = "blocks.3.\"odd\"\\\n\x01";
  record.role = "gemm.input";
  record.format = "e4m3";
  record.amax = 0.1f;
  for (int exponent = -126; exponent <= 126; ++exponent) {
    fill_record(record, stats, static_cast<float>(std::ldexp(1.0, exponent)));
    ASSERT_EQ(record.scale_exponent, exponent);
  }
  const std::string line = to_json(record);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json.size(), 12u);
  EXPECT_EQ(json["step"], 12);
  EXPECT_EQ(json["tensor"], record.tensor);
  EXPECT_EQ(json["role"], "gemm.input");
  EXPECT_EQ(json["format"], "e4m3");
  EXPECT_EQ(json["amax"].get<double>(), static_cast<double>(0.1f));
  EXPECT_EQ(json["scale_exponent"], 126);
  EXPECT_EQ(json["underflow"], 0.125);
  EXPECT_EQ(json["saturation"], 0);
  EXPECT_NEAR(json["snr_db"].get<double>(), 30.0, 1e-9);
}

TEST(Statistics, ManyScalesAreTheLargestAndTheMiddleOne) {
  TensorRecord record;
  EXPECT_FALSE(nlohmann::json::parse(to_json(record)).contains("scales"));
  const std::vector<float> scales{0.25f, 8.0f, 0.5f, 2.0f};
  fill_record(record, {}, scales);
  EXPECT_EQ(record.scale_exponent, 3);
  EXPECT_EQ(record.median_scale_exponent, -1);
  const auto json = nlohmann::json::parse(to_json(record));
  EXPECT_EQ(json["scales"], 4);
  EXPECT_EQ(json["scale_exponent"], 3);
  EXPECT_EQ(json["median_scale_exponent"], -1);
  EXPECT_EQ(json["underflow"], 0);
}

TEST(Statistics, TheExponentHistogramIsTrimmedAndKeepsEveryCount) {
  QuantizeStats stats;
  TensorRecord record;
  stats.exponents[0] = 7;
  stats.exponents[255] = 3;  // infinities and NaNs have no exponent
  fill_record(record, stats, 1.0f);
  EXPECT_TRUE(record.exponent_counts.empty());
  EXPECT_EQ(record.zeros, 7);
  EXPECT_EQ(nlohmann::json::parse(to_json(record))["exponent_counts"], nlohmann::json::array());

  stats.exponents[127 - 20] = 5;
  stats.exponents[127 - 17] = 11;
  fill_record(record, stats, 1.0f);
  EXPECT_EQ(record.exponent_first, -20);
  EXPECT_EQ(record.exponent_counts, (std::vector<int64_t>{5, 0, 0, 11}));
  const auto json = nlohmann::json::parse(to_json(record));
  EXPECT_EQ(json["exponent_first"], -20);
  EXPECT_EQ(json["exponent_counts"], (std::vector<int64_t>{5, 0, 0, 11}));
  EXPECT_EQ(json["zeros"], 7);

  stats.exponents[1] = 1;
  stats.exponents[254] = 2;
  fill_record(record, stats, 1.0f);
  EXPECT_EQ(record.exponent_first, -126);
  EXPECT_EQ(record.exponent_counts.size(), 254u);
  EXPECT_EQ(record.exponent_counts.back(), 2);
}

TEST(Statistics, WhatJsonCannotSayIsNull) {
  TensorRecord record;
  record.amax = std::numeric_limits<double>::quiet_NaN();
  record.snr_db = std::numeric_limits<double>::infinity();
  record.scale_exponent = -std::numeric_limits<double>::infinity();
  record.saturation = 1e-30;
  const auto json = nlohmann::json::parse(to_json(record));
  EXPECT_TRUE(json["amax"].is_null());
  EXPECT_TRUE(json["snr_db"].is_null());
  EXPECT_TRUE(json["scale_exponent"].is_null());
  EXPECT_EQ(json["saturation"], 1e-30);
}

}  // namespace
}  // namespace octavo
