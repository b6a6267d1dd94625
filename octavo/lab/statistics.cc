// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/statistics.h"

#include <cassert>
#include <cmath>
#include <limits>
#include <numbers>

namespace octavo {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

/// P(|T| <= t) for T with that many degrees of freedom: a finite series in the angle atan(t / sqrt(degrees)).
double within(double t, size_t degrees) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double sine = std::sin(angle), square = std::cos(angle) * std::cos(angle);
  const bool odd = degrees % 2 == 1;
  // Odd: cos + 2/3 cos^3 + ...; even: 1 + 1/2 cos^2 + 1*3/(2*4) cos^4 + ...; up to cos^(degrees - 2).
  double term = odd ? std::cos(angle) : 1, sum = 0;
  for (size_t power = odd ? 1 : 0; power + 2 <= degrees; power += 2) {
    sum += term;
    const double p = static_cast<double>(power);
    term *= square * (p + 1) / (p + 2);
  }
  if (odd) return 2 / std::numbers::pi * (angle + sine * sum);
  return sine * sum;
}

}  // namespace

double student_quantile(double confidence, size_t degrees) {
  assert(confidence > 0 && confidence < 1 && degrees >= 1);
  double low = 0, high = 1;
  while (within(high, degrees) < confidence) high *= 2;
  for (int i = 0; i < 100 && high - low > 1e-14 * high; ++i) {
    const double middle = (low + high) / 2;
    (within(middle, degrees) < confidence ? low : high) = middle;
  }
  return (low + high) / 2;
}

Estimate estimate(const std::vector<double>& values) {
  Estimate out{kNothing, kNothing, 0};
  double sum = 0;
  for (const double value : values)
    if (std::isfinite(value)) {
      sum += value;
      ++out.count;
    }
  if (out.count == 0) return out;
  const double n = static_cast<double>(out.count);
  out.mean = sum / n;
  if (out.count < 2) return out;
  double squares = 0;
  for (const double value : values)
    if (std::isfinite(value)) squares += (value - out.mean) * (value - out.mean);
  out.band = student_quantile(kConfidence, out.count - 1) * std::sqrt(squares / (n - 1) / n);
  return out;
}

Estimate paired_percent(const std::vector<double>& values, const std::vector<double>& base) {
  assert(values.size() == base.size());
  std::vector<double> differences;
  for (size_t i = 0; i < values.size(); ++i) differences.push_back(100 * (values[i] - base[i]) / base[i]);
  return estimate(differences);
}

bool differs(const Estimate& estimate) { return std::fabs(estimate.mean) > estimate.band; }

}  // namespace octavo
