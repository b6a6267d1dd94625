// SPDX-License-Identifier: Apache-2.0
// Curves that become small without losing their extremes.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

namespace octavo {

/// Points of a curve by rising x. `of` is how many there were before downsampling.
struct Series {
  std::vector<double> x, y;
  int64_t of = 0;
  /// Appends a point; one whose y is not finite is left out.
  void add(double x_value, double y_value);
};

/// Smallest, middle and largest of a set at each x.
struct Band {
  std::vector<double> x, low, median, high;
  int64_t of = 0;
  /// Appends the band of `values`, of which those that are not finite are left out; nothing when none is
  /// left.
  void add(double x_value, std::vector<double> values);
};

/// At most max(`most`, 4) points of `series`: the first, the last, and from equal stretches between them the
/// lowest and the highest, in their order. So every extreme stays.
Series downsample(const Series& series, size_t most);
/// At most max(`most`, 1) stretches, each with the lowest low, the median of the medians, the highest high.
Band downsample(const Band& band, size_t most);

/// Mean over the last `window` points at each point; over fewer at the beginning.
Series running_mean(const Series& series, size_t window);
/// The window this page smooths a curve of that many points with: a thirtieth, 1..500.
size_t smoothing_window(size_t points);

/// NaN of nothing. The mean of the two middle values of an even number.
double median(std::vector<double> values);
/// `value` with that many significant digits.
double significant(double value, int digits);

}  // namespace octavo
