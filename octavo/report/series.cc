// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/series.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace octavo {

void Series::add(double x_value, double y_value) {
  if (!std::isfinite(y_value)) return;
  x.push_back(x_value);
  y.push_back(y_value);
  ++of;
}

void Band::add(double x_value, std::vector<double> values) {
  std::erase_if(values, [](double v) { return !std::isfinite(v); });
  if (values.empty()) return;
  const auto [least, greatest] = std::minmax_element(values.begin(), values.end());
  x.push_back(x_value);
  low.push_back(*least);
  high.push_back(*greatest);
  median.push_back(octavo::median(values));
  ++of;
}

Series downsample(const Series& series, size_t most) {
  most = std::max<size_t>(most, 4);
  const size_t count = series.x.size();
  if (count <= most) return series;
  Series out;
  const auto keep = [&](size_t i) {
    out.x.push_back(series.x[i]);
    out.y.push_back(series.y[i]);
  };
  keep(0);
  const size_t stretches = (most - 2) / 2, inner = count - 2;
  for (size_t s = 0; s < stretches; ++s) {
    const auto begin = series.y.begin() + static_cast<std::ptrdiff_t>(1 + inner * s / stretches);
    const auto end = series.y.begin() + static_cast<std::ptrdiff_t>(1 + inner * (s + 1) / stretches);
    const auto [least, greatest] = std::minmax_element(begin, end);
    const size_t a = static_cast<size_t>(std::min(least, greatest) - series.y.begin());
    const size_t b = static_cast<size_t>(std::max(least, greatest) - series.y.begin());
    keep(a);
    if (b != a) keep(b);
  }
  keep(count - 1);
  out.of = series.of;
  return out;
}

Band downsample(const Band& band, size_t most) {
  most = std::max<size_t>(most, 1);
  const size_t count = band.x.size();
  if (count <= most) return band;
  Band out;
  for (size_t s = 0; s < most; ++s) {
    const auto begin = static_cast<std::ptrdiff_t>(count * s / most),
               end = static_cast<std::ptrdiff_t>(count * (s + 1) / most);
    // The ends of the curve keep their places.
    const std::ptrdiff_t at = s == 0 ? begin : s + 1 == most ? end - 1 : (begin + end) / 2;
    out.x.push_back(band.x[static_cast<size_t>(at)]);
    out.low.push_back(*std::min_element(band.low.begin() + begin, band.low.begin() + end));
    out.high.push_back(*std::max_element(band.high.begin() + begin, band.high.begin() + end));
    out.median.push_back(median({band.median.begin() + begin, band.median.begin() + end}));
  }
  out.of = band.of;
  return out;
}

Series running_mean(const Series& series, size_t window) {
  Series out = series;
  for (size_t i = 0; i < series.y.size(); ++i) {
    const size_t from = i + 1 >= window ? i + 1 - window : 0;
    // Summed anew each time: a running sum would carry the rounding of a large early loss along.
    double sum = 0;
    for (size_t k = from; k <= i; ++k) sum += series.y[k];
    out.y[i] = sum / static_cast<double>(i + 1 - from);
  }
  return out;
}

size_t smoothing_window(size_t points) { return std::clamp<size_t>(points / 30, 1, 500); }

double median(std::vector<double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  if (values.size() % 2) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

double significant(double value, int digits) {
  if (!std::isfinite(value)) return value;
  return std::stod(fmt::format("{:.{}e}", value, digits - 1));
}

}  // namespace octavo
