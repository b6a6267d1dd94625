// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>
#include <cmath>

#include "octavo/lab/result.h"

namespace octavo {

Interval find_interval(const std::vector<RowResult>& rows, const IntervalSpec& spec) {
  Interval out;
  for (size_t r = 0; r < rows.size(); ++r) {
    const std::string& label = rows[r].label;
    if (!label.starts_with(spec.family + ":")) continue;
    ConstantPoint point{0, r};
    const char *first = label.data() + spec.family.size() + 1, *end = label.data() + label.size();
    const auto [stop, error] = std::from_chars(first, end, point.constant);
    if (error == std::errc() && stop == end) out.points.push_back(point);
  }
  std::sort(out.points.begin(), out.points.end(),
            [](const ConstantPoint& a, const ConstantPoint& b) { return a.constant < b.constant; });

  // A row of which a seed diverged is not tolerated, whatever the others reached.
  const auto delta = [&](size_t p) {
    const RowResult& row = rows[out.points[p].row];
    return row.diverged > 0 || !std::isfinite(row.delta.mean) ? HUGE_VAL : row.delta.mean;
  };
  const size_t count = out.points.size();
  size_t best = 0;
  for (size_t p = 1; p < count; ++p)
    if (delta(p) < delta(best)) best = p;
  if (count == 0 || !(delta(best) <= spec.within)) return out;
  size_t low = best, high = best;
  while (low > 0 && delta(low - 1) <= spec.within) --low;
  while (high + 1 < count && delta(high + 1) <= spec.within) ++high;
  for (size_t p = low; p <= high; ++p) out.band = std::fmax(out.band, rows[out.points[p].row].delta.band);
  out.low = out.points[low].constant;
  out.high = out.points[high].constant;
  out.open_low = low == 0;
  out.open_high = high + 1 == count;
  return out;
}

}  // namespace octavo
