// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/mse_scale.h"

#include <algorithm>
#include <cmath>

#include "octavo/numerics/encode.h"
#include "octavo/numerics/scale.h"

namespace octavo {
namespace {

/// How far above the amax's bias the search goes. One step cuts the largest value to no less than half of it;
/// seven cut it to a hundredth, which pays only for tensors of more elements than a memory holds.
constexpr int kSteps = 7;

/// The mean of (x - from)^2 over [low, high].
double mean_square(double low, double high, double from) {
  const double a = low - from, b = high - from;
  return (a * a + a * b + b * b) / 3;
}

}  // namespace

double expected_squared_error(const MagnitudeHistogram& histogram, Format format, int bias) {
  const double unit = std::ldexp(1.0, -bias), largest = histogram.amax;
  const double top = max_finite(format) * unit, smallest = min_subnormal(format) * unit;
  // The largest value is known, and often it alone decides.
  const float code = decode(format, encode(format, static_cast<float>(std::ldexp(largest, bias)),
                                           Rounding::nearest_even, Overflow::saturate));
  double error = (largest - code * unit) * (largest - code * unit);
  for (int bin = MagnitudeHistogram::kFirstNormal; bin < MagnitudeHistogram::kFirstNonfinite; ++bin) {
    int64_t count = histogram.counts[static_cast<size_t>(bin)];
    if (count == 0) continue;
    const double low = MagnitudeHistogram::edge(bin);
    double high = low + std::ldexp(1.0, std::ilogb(low) - (23 - MagnitudeHistogram::kShift));
    if (low <= largest && largest < high) {
      --count;
      high = largest;
    }
    if (count == 0) continue;
    double each = 0;
    if (low >= top) {
      each = mean_square(low, high, top);
    } else if (high <= smallest / 2) {
      each = mean_square(low, high, 0);
    } else {
      const double step = std::max(smallest, std::ldexp(1.0, std::ilogb(low) - mantissa_bits(format)));
      each = step * step / 12;
    }
    error += static_cast<double>(count) * each;
  }
  return error;
}

std::optional<int> mse_bias(const MagnitudeHistogram& histogram, Format format) {
  const std::optional<int> first = pow2_bias(histogram.amax, format, 0, kFloatBiasRange);
  if (!first) return std::nullopt;
  int best = *first;
  double least = expected_squared_error(histogram, format, best);
  for (int bias = *first + 1; bias <= std::min(*first + kSteps, kFloatBiasRange.high); ++bias) {
    const double error = expected_squared_error(histogram, format, bias);
    if (error < least) {
      least = error;
      best = bias;
    }
  }
  return best;
}

}  // namespace octavo
