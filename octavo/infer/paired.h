// SPDX-License-Identifier: Apache-2.0
// Two ways of computing the same items: differences with their uncertainty, and what changed.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace octavo {

struct Interval {
  double difference = 0;     ///< of the data as they are
  double low = 0, high = 0;  ///< 2.5 and 97.5 percent of the resamples
};

/// Paired units of resampling: items, or windows of a text. A unit adds a[i] and b[i] to the sums of either
/// side and weight[i] to what they are divided by.
struct PairedUnits {
  std::vector<double> a, b, weight;
  std::vector<size_t> strata;   ///< first unit of each stratum; empty: one stratum
  bool mean_of_strata = false;  ///< the mean of the strata's means, not the mean over all units
};

/// Percentile bootstrap of difference(mean of a, mean of b): units are drawn with replacement within each
/// stratum, the same for both sides, `resamples` times. A pure function of its arguments.
Interval paired_bootstrap(const PairedUnits& units,
                          const std::function<double(double mean_a, double mean_b)>& difference,
                          int64_t resamples, uint64_t seed);

/// McNemar's exact two-sided test: the probability of a split between `gained` and `lost` at least as uneven
/// when both are equally likely.
double mcnemar(int64_t gained, int64_t lost);

/// Mean, 99th percentile (the smallest value that at least 99 % do not exceed) and maximum.
struct Distribution {
  double mean = 0, p99 = 0, max = 0;
};
Distribution distribution(std::vector<double> values);

}  // namespace octavo
