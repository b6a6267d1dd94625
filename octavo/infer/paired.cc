// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/paired.h"

#include <algorithm>
#include <cmath>

#include "octavo/base/rng.h"

namespace octavo {
namespace {

/// Sums over some units of one stratum.
struct Sums {
  double a = 0, b = 0, weight = 0;
  void add(const PairedUnits& units, size_t i) {
    a += units.a[i];
    b += units.b[i];
    weight += units.weight[i];
  }
};

double value_of(const std::vector<Sums>& strata, bool mean_of_strata,
                const std::function<double(double, double)>& difference) {
  double a = 0, b = 0, weight = 0;
  for (const Sums& s : strata) {
    if (mean_of_strata) {
      a += s.a / s.weight;
      b += s.b / s.weight;
      weight += 1;
    } else {
      a += s.a;
      b += s.b;
      weight += s.weight;
    }
  }
  return difference(a / weight, b / weight);
}

double percentile(const std::vector<double>& sorted, double share) {
  const double rank = std::ceil(share * static_cast<double>(sorted.size()));
  return sorted[static_cast<size_t>(std::clamp(rank, 1.0, static_cast<double>(sorted.size()))) - 1];
}

}  // namespace

Interval paired_bootstrap(const PairedUnits& units, const std::function<double(double, double)>& difference,
                          int64_t resamples, uint64_t seed) {
  std::vector<size_t> begins = units.strata.empty() ? std::vector<size_t>{0} : units.strata;
  begins.push_back(units.a.size());
  std::vector<Sums> strata(begins.size() - 1);
  for (size_t s = 0; s < strata.size(); ++s)
    for (size_t i = begins[s]; i < begins[s + 1]; ++i) strata[s].add(units, i);
  Interval interval;
  interval.difference = value_of(strata, units.mean_of_strata, difference);
  std::vector<double> values;
  for (int64_t k = 0; k < resamples; ++k) {
    const Rng rng(seed, static_cast<uint64_t>(k));
    for (size_t s = 0; s < strata.size(); ++s) {
      strata[s] = {};
      const size_t count = begins[s + 1] - begins[s];
      for (size_t i = begins[s]; i < begins[s + 1]; ++i)
        strata[s].add(units, begins[s] + static_cast<size_t>(rng.integer(i) % count));
    }
    values.push_back(value_of(strata, units.mean_of_strata, difference));
  }
  std::sort(values.begin(), values.end());
  interval.low = values.empty() ? interval.difference : percentile(values, 0.025);
  interval.high = values.empty() ? interval.difference : percentile(values, 0.975);
  return interval;
}

double mcnemar(int64_t gained, int64_t lost) {
  const double n = static_cast<double>(gained + lost);
  double tail = 0;
  for (int64_t k = 0; k <= std::min(gained, lost); ++k) {
    const double i = static_cast<double>(k);
    tail += std::exp(std::lgamma(n + 1) - std::lgamma(i + 1) - std::lgamma(n - i + 1) - n * std::log(2.0));
  }
  return std::min(1.0, 2 * tail);
}

Distribution distribution(std::vector<double> values) {
  Distribution d;
  if (values.empty()) return d;
  double sum = 0;
  for (const double v : values) sum += v;
  std::sort(values.begin(), values.end());
  d.mean = sum / static_cast<double>(values.size());
  d.p99 = percentile(values, 0.99);
  d.max = values.back();
  return d;
}

}  // namespace octavo
