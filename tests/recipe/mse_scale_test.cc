// SPDX-License-Identifier: Apache-2.0
// The bias chosen from a histogram against the true squared error of every bias.
#include "octavo/recipe/mse_scale.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "octavo/base/rng.h"
#include "octavo/numerics/encode.h"
#include "octavo/numerics/scale.h"
#include "octavo/recipe/quantizer.h"

namespace octavo {
namespace {

using Values = std::vector<float>;

MagnitudeHistogram histogram_of(const Values& x, int threads = 1) {
  ThreadPool pool(threads);
  return magnitude_histogram(dense(x.data(), Format::fp32, 1, static_cast<int64_t>(x.size())), pool);
}

/// The sum of (x - Q(x))^2, by casting.
double true_error(const Values& x, Format format, int bias) {
  double error = 0;
  for (const float v : x) {
    const double scaled = std::ldexp(static_cast<double>(v), bias);
    const float q = decode(
        format, encode(format, static_cast<float>(scaled), Rounding::nearest_even, Overflow::saturate));
    const double lost = static_cast<double>(v) - std::ldexp(static_cast<double>(q), -bias);
    error += lost * lost;
  }
  return error;
}

struct Case {
  std::string name;
  bool smooth;
  std::function<double(const Rng&, uint64_t)> draw;
};

// Smooth data of all widths, with outliers, and with so many tiny numbers that cutting the top pays.
const Case kCases[] = {
    {"normal", true, [](const Rng& r, uint64_t i) { return r.normal(i); }},
    {"large", true, [](const Rng& r, uint64_t i) { return 3e20 * r.normal(i); }},
    {"log-normal", false, [](const Rng& r, uint64_t i) { return std::exp(2 * r.normal(i)); }},
    {"wide", false, [](const Rng& r, uint64_t i) { return std::exp2(6 * r.normal(i)); }},
    {"cubed", false, [](const Rng& r, uint64_t i) { return std::pow(r.normal(i), 3); }},
    {"one outlier", false, [](const Rng& r, uint64_t i) { return i == 77 ? 3e5 : r.normal(i); }},
    {"outlier just over a power", false,
     [](const Rng& r, uint64_t i) { return i == 77 ? 1.7501 * 0x1p20 : 2 * r.normal(i); }},
    {"narrow", false, [](const Rng& r, uint64_t i) { return r.normal(i) / 50 + 0.5; }},
};

TEST(MseBias, IsNearTheBestOfAll) {
  constexpr size_t kCount = 20000;
  int moved = 0;
  for (const Format format : {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz})
    for (const Case& test : kCases) {
      SCOPED_TRACE(std::string(to_string(format)) + " " + test.name);
      const Rng rng(11);
      Values x(kCount);
      for (size_t i = 0; i < kCount; ++i) x[i] = static_cast<float>(test.draw(rng, i));
      const MagnitudeHistogram h = histogram_of(x);
      const std::optional<int> bias = mse_bias(h, format);
      ASSERT_TRUE(bias);
      const int from_amax = pow2_bias(h.amax, format, 0).value();
      double best = std::numeric_limits<double>::infinity();
      for (int b = from_amax - 12; b <= from_amax + 12; ++b) best = std::min(best, true_error(x, format, b));
      const double chosen = true_error(x, format, *bias);
      EXPECT_LE(chosen, 1.05 * best);
      EXPECT_LE(chosen, 1.001 * true_error(x, format, from_amax));
      // The estimate is what it says, where no single value decides.
      for (int b = from_amax; test.smooth && b <= from_amax + 2; ++b)
        EXPECT_NEAR(expected_squared_error(h, format, b) / true_error(x, format, b), 1, 0.1) << b;
      moved += *bias != from_amax;
    }
  EXPECT_GE(moved, 2) << "a choice that is always the amax's proves nothing";
}

// Numbers that the amax's bias hits exactly, which the histogram cannot know.
TEST(MseBias, IsNeverMuchWorseThanTheAmaxOne) {
  const Rng rng(5);
  for (const Format format : {Format::e4m3, Format::e5m2, Format::e4m3fnuz})
    for (uint64_t trial = 0; trial < 200; ++trial) {
      const Rng draw(100 + trial);
      Values x(500);
      // Codes of the format itself: some small ones, few large ones, and one just beyond a power of two.
      for (size_t i = 0; i < x.size(); ++i)
        x[i] = decode(format, static_cast<uint32_t>(draw.integer(i) % (trial % 40 + 2)));
      x[0] = decode(format, spec(format).max_code - static_cast<uint32_t>(trial % 9));
      const MagnitudeHistogram h = histogram_of(x);
      const int from_amax = pow2_bias(h.amax, format, 0).value(), bias = mse_bias(h, format).value();
      const double smallest = std::ldexp(static_cast<double>(min_subnormal(format)), -from_amax);
      EXPECT_LE(true_error(x, format, bias),
                true_error(x, format, from_amax) + static_cast<double>(x.size()) / 4 * smallest * smallest);
    }
}

TEST(MseBias, HasNoneWithoutAUsableAmax) {
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(mse_bias(histogram_of({0, -0.0f, 0}), Format::e4m3));
  EXPECT_FALSE(mse_bias(histogram_of({1, inf, 2}), Format::e4m3));
  EXPECT_FALSE(mse_bias(histogram_of({1, nan, inf}), Format::e4m3));
  EXPECT_EQ(mse_bias(histogram_of({0x1p-140f, 0}), Format::e4m3), 126);
  EXPECT_EQ(mse_bias(histogram_of({3e38f, 1}), Format::e4m3), pow2_bias(3e38f, Format::e4m3, 0));
}

TEST(MseScale, ThroughTheQuantizer) {
  RoleSpec spec;
  spec.format = Format::e4m3;
  spec.scaling.kind = ScalingKind::mse;
  Scaler scaler;
  const auto slot = scaler.add("x", spec);
  EXPECT_FALSE(scaler.needs_amax(slot));
  EXPECT_TRUE(scaler.needs_histogram(slot));
  const Rng rng(3);
  Values x(300 * 500);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(std::exp2(7 * rng.normal(i)));
  std::vector<uint8_t> codes(x.size());
  float scale = 0;
  const auto quantized = [&](int threads) {
    ThreadPool pool(threads);
    ScaledTensor out;
    out.codes = dense(codes.data(), Format::e4m3, 300, 500);
    out.scales = &scale;
    QuantizeRequest request;
    request.x = dense(x.data(), Format::fp32, 300, 500);
    quantize_tensor(scaler, slot, request, out, pool);
    return scale;
  };
  const MagnitudeHistogram h = histogram_of(x);
  const float expected = scale_from_bias(mse_bias(h, Format::e4m3).value());
  for (const int threads : {1, 2, 3}) EXPECT_EQ(quantized(threads), expected);
  EXPECT_EQ(scaler.last_amax(slot), h.amax);
  for (size_t i = 0; i < x.size(); i += 97)
    EXPECT_EQ(codes[i], encode<Format::e4m3>(x[i] / scale, Rounding::nearest_even, Overflow::saturate));
  // What has no scale keeps the last one; what is not finite is counted.
  std::fill(x.begin(), x.end(), 0.0f);
  EXPECT_EQ(quantized(1), expected);
  EXPECT_EQ(scaler.nonfinite(), 0);
  x[7] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(quantized(2), expected);
  EXPECT_EQ(scaler.nonfinite(), 1);
  // The last scale outlives a checkpoint.
  Scaler resumed;
  resumed.add("x", spec);
  resumed.restore(scaler.state());
  EXPECT_EQ(resumed.last_scale(0), expected);
}

}  // namespace
}  // namespace octavo
