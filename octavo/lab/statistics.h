// SPDX-License-Identifier: Apache-2.0
// Means over seeds and what they are worth.
#pragma once
#include <cstddef>
#include <vector>

namespace octavo {

/// Share of the intervals below that hold the true mean, were seeds normally distributed.
inline constexpr double kConfidence = 0.95;

/// A mean with half the width of its interval: mean - band .. mean + band.
struct Estimate {
  double mean;       ///< NaN of nothing
  double band;       ///< NaN of fewer than two values: one seed says nothing about noise
  size_t count = 0;  ///< values it is the mean of
};

/// Mean and two-sided Student interval, band = t(confidence, n - 1) * s / sqrt(n) with the sample's standard
/// deviation s. Values that are not finite are left out.
Estimate estimate(const std::vector<double>& values);

/// Of the differences 100 * (value - base) / base, a pair a seed; pairs in which either is not finite are
/// left out. Seeds share initial weights and data order, so what they have in common cancels: this band is
/// narrower than the difference of two bands of estimate(). Both lists have a value for each seed, in the
/// same order.
Estimate paired_percent(const std::vector<double>& values, const std::vector<double>& base);

/// Whether the interval leaves out zero; false without a band.
bool differs(const Estimate& estimate);

/// The two-sided quantile of Student's distribution: P(|T| <= t) = confidence for 0 < confidence < 1, degrees
/// >= 1. From the closed form for whole degrees of freedom (Abramowitz and Stegun, 26.7.3 and 26.7.4).
double student_quantile(double confidence, size_t degrees);

}  // namespace octavo
