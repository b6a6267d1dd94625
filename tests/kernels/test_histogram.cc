// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/histogram.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "octavo/base/rng.h"
#include "octavo/numerics/bf16.h"

namespace octavo {
namespace {

TEST(Histogram, CountsEveryMagnitudeOnce) {
  constexpr int64_t kRows = 401, kCols = 333, kStride = 340;
  const Rng rng(1);
  std::vector<float> x(kRows * kStride, 1e30f);  // what lies between the rows is not counted
  std::vector<uint16_t> halves(x.size());
  for (int64_t r = 0; r < kRows; ++r)
    for (int64_t c = 0; c < kCols; ++c) {
      const auto i = static_cast<size_t>(r * kStride + c);
      x[i] = i % 7 == 0 ? 0.0f : static_cast<float>(std::exp2(20 * rng.normal(i)) * (i % 2 ? 1 : -1));
    }
  for (size_t i = 0; i < x.size(); ++i) halves[i] = bf16_from_float(x[i]);
  for (const Format format : {Format::fp32, Format::bf16}) {
    const bool bf16 = format == Format::bf16;
    const void* data = bf16 ? static_cast<const void*>(halves.data()) : x.data();
    MagnitudeHistogram expected;
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < kCols; ++c) {
        const auto i = static_cast<size_t>(r * kStride + c);
        const float v = std::fabs(bf16 ? bf16_to_float(halves[i]) : x[i]);
        // By value: the last bin whose edge is not above it.
        int bin = static_cast<int>(std::bit_cast<uint32_t>(v) >> 20);
        while (MagnitudeHistogram::edge(bin) > v) --bin;
        while (MagnitudeHistogram::edge(bin + 1) <= v) ++bin;
        ++expected.counts[static_cast<size_t>(bin)];
        expected.amax = std::max(expected.amax, v);
      }
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      const MagnitudeHistogram h = magnitude_histogram({data, format, kRows, kCols, kStride}, pool);
      EXPECT_EQ(h.counts, expected.counts);
      EXPECT_EQ(h.amax, expected.amax);
    }
  }
}

TEST(Histogram, SeesWhatIsNotFinite) {
  ThreadPool pool(1);
  const float inf = std::numeric_limits<float>::infinity(), nan = std::numeric_limits<float>::quiet_NaN();
  std::vector<float> x = {1, -inf, 2};
  EXPECT_EQ(magnitude_histogram(dense(x.data(), Format::fp32, 1, 3), pool).amax, inf);
  x[0] = nan;
  EXPECT_TRUE(std::isnan(magnitude_histogram(dense(x.data(), Format::fp32, 3, 1), pool).amax));
  EXPECT_EQ(magnitude_histogram(dense(x.data(), Format::fp32, 0, 3), pool).amax, 0);
}

}  // namespace
}  // namespace octavo
