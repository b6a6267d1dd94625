// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include "octavo/base/error.h"

namespace octavo {
namespace {

// Probabilities 0.4, 0.3, 0.2, 0.06, 0.04 at ids 3, 1, 4, 0, 2.
const std::vector<float> kLogits{std::log(0.06f), std::log(0.3f), std::log(0.04f), std::log(0.4f),
                                 std::log(0.2f)};
constexpr int kDraws = 20000;

std::map<int32_t, double> shares(const SamplerParams& params) {
  std::map<int32_t, double> counts;
  for (uint64_t i = 0; i < kDraws; ++i) counts[sample(kLogits, params, i)] += 1.0 / kDraws;
  return counts;
}

void expect_shares(const SamplerParams& params, const std::map<int32_t, double>& expected) {
  const auto found = shares(params);
  EXPECT_EQ(found.size(), expected.size());
  for (const auto& [id, share] : expected)
    EXPECT_NEAR(found.count(id) ? found.at(id) : 0, share, 0.018) << id;  // five sigma
}

SamplerParams plain(double temperature = 1) {
  SamplerParams p;
  p.temperature = temperature;
  return p;
}

TEST(Sampler, GreedyTakesTheFirstLargest) {
  EXPECT_EQ(sample(kLogits, plain(0), 0), 3);
  EXPECT_EQ(sample(std::vector<float>{1, 2, 2}, plain(0), 9), 1);
  EXPECT_EQ(sample(std::vector<float>{-INFINITY, -3}, plain(0), 9), 1);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  expect_shares(plain(), {{0, 0.06}, {1, 0.3}, {2, 0.04}, {3, 0.4}, {4, 0.2}});
  // Temperature 1/2 squares them: 0.16, 0.09, 0.04, 0.0036, 0.0016 of 0.2952.
  expect_shares(plain(0.5), {{0, 0.0122}, {1, 0.3049}, {2, 0.0054}, {3, 0.542}, {4, 0.1355}});
}

TEST(Sampler, TopK) {
  SamplerParams p = plain();
  p.top_k = 2;
  expect_shares(p, {{3, 0.4 / 0.7}, {1, 0.3 / 0.7}});
  p.top_k = 1;
  expect_shares(p, {{3, 1}});
  p.top_k = 100;
  expect_shares(p, {{0, 0.06}, {1, 0.3}, {2, 0.04}, {3, 0.4}, {4, 0.2}});
}

TEST(Sampler, TopP) {
  SamplerParams p = plain();
  p.top_p = 0.69;
  expect_shares(p, {{3, 0.4 / 0.7}, {1, 0.3 / 0.7}});
  p.top_p = 0.71;  // the third is needed to get there
  expect_shares(p, {{3, 0.4 / 0.9}, {1, 0.3 / 0.9}, {4, 0.2 / 0.9}});
  p.top_p = 0.01;
  expect_shares(p, {{3, 1}});
  p.top_k = 2;  // top-p then counts within what top-k left: 0.4 / 0.7 = 0.571
  p.top_p = 0.57;
  expect_shares(p, {{3, 1}});
}

TEST(Sampler, MinP) {
  SamplerParams p = plain();
  p.min_p = 0.49;  // of 0.4
  expect_shares(p, {{3, 0.4 / 0.9}, {1, 0.3 / 0.9}, {4, 0.2 / 0.9}});
  p.min_p = 1;
  expect_shares(p, {{3, 1}});
}

TEST(Sampler, TiesGoToTheSmallerId) {
  SamplerParams p = plain();
  p.top_k = 2;
  for (uint64_t i = 0; i < 200; ++i) EXPECT_LT(sample(std::vector<float>(50, 1.0f), p, i), 2);
}

TEST(Sampler, IsAPureFunction) {
  SamplerParams p = plain(), other = plain();
  other.seed = 1;
  int same_seed = 0, same_sequence = 0;
  for (uint64_t i = 0; i < 1000; ++i) {
    EXPECT_EQ(sample(kLogits, p, i, 4), sample(kLogits, p, i, 4));
    same_seed += sample(kLogits, p, i) == sample(kLogits, other, i);
    same_sequence += sample(kLogits, p, i) == sample(kLogits, p, i, 1);
  }
  EXPECT_NEAR(same_seed, 295, 75);  // sum of squares of the probabilities
  EXPECT_NEAR(same_sequence, 295, 75);
}

TEST(Sampler, LogitsThatAreNoNumbersAreAnError) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const double temperature : {0.0, 1.0}) {
    EXPECT_THROW(sample(std::vector<float>{1, nan, 2}, plain(temperature), 0), Error);
    EXPECT_THROW(sample(std::vector<float>{1, INFINITY}, plain(temperature), 0), Error);
    EXPECT_THROW(sample(std::vector<float>{-INFINITY, -INFINITY}, plain(temperature), 0), Error);
  }
  for (uint64_t i = 0; i < 100; ++i) EXPECT_EQ(sample(std::vector<float>{-INFINITY, 0}, plain(), i), 1);
}

TEST(Sampler, ParametersOutOfRangeNameTheFlag) {
  const auto message = [](auto change) {
    SamplerParams p;
    change(p);
    try {
      validate(p);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(message([](SamplerParams&) {}), "");
  EXPECT_NE(message([](SamplerParams& p) { p.temperature = -1; }).find("--temperature"), std::string::npos);
  EXPECT_NE(message([](SamplerParams& p) { p.temperature = std::nan(""); }).find("--temperature"),
            std::string::npos);
  EXPECT_NE(message([](SamplerParams& p) { p.top_k = -1; }).find("--top-k"), std::string::npos);
  EXPECT_NE(message([](SamplerParams& p) { p.top_p = 0; }).find("--top-p"), std::string::npos);
  EXPECT_NE(message([](SamplerParams& p) { p.min_p = 2; }).find("--min-p"), std::string::npos);
}

}  // namespace
}  // namespace octavo
