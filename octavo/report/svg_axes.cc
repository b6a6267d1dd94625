// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/svg_axes.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace octavo {
namespace {

constexpr std::string_view kGrid = "#e3e6ea", kFaint = "#5b6472";

}  // namespace

Range Range::none() {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  return {infinity, -infinity};
}

void Range::include(const std::vector<double>& values) {
  for (const double v : values) {
    if (!std::isfinite(v)) continue;
    low = std::min(low, v);
    high = std::max(high, v);
  }
}

void Range::pad(double share) {
  if (empty()) {
    *this = {0, 1};
    return;
  }
  double room = (high - low) * share;
  if (high == low) room = high == 0 ? 1 : std::fabs(high) * 0.1;
  low -= room;
  high += room;
}

std::vector<double> nice_ticks(const Range& range, int count) {
  std::vector<double> out;
  const double length = range.high - range.low;
  if (!(length > 0) || !std::isfinite(length)) return out;
  const double power = std::pow(10.0, std::floor(std::log10(length / count)));
  double step = power;
  for (const double factor : {2.0, 5.0, 10.0})
    if (length / step > count * 1.3) step = power * factor;
  const double first = std::ceil(range.low / step - 1e-9);
  // Counted: far from zero adding one step may change nothing.
  for (int i = 0; i < 4 * count && (first + i) * step <= range.high + step * 1e-9; ++i)
    out.push_back((first + i) * step);
  return out;
}

std::string tick_text(double value) {
  const double size = std::fabs(value);
  if (size >= 1e6) return fmt::format("{:g}M", significant(value / 1e6, 6));
  if (size >= 1e4) return fmt::format("{:g}k", significant(value / 1e3, 6));
  return size < 1e-12 ? "0" : fmt::format("{:g}", significant(value, 6));
}

Point Axes::at(double x, double y) const {
  const double shown = std::clamp(y, y_.low, y_.high);
  return {box_.x + box_.width * (x - x_.low) / (x_.high - x_.low),
          box_.y + box_.height * (1 - (shown - y_.low) / (y_.high - y_.low))};
}

void Axes::y_ticks(const std::vector<double>& values, const std::string& label) {
  double widest = 0;
  for (const double value : values) {
    const Point p = at(x_.low, value);
    const std::string number = tick_text(value);
    widest = std::max(widest, static_cast<double>(number.size()) * 6.2);
    svg_.line(p, {p.x + box_.width, p.y}, kGrid);
    svg_.text({p.x - 6, p.y + 4}, number, {11, Anchor::end, kFaint});
  }
  if (!label.empty())
    svg_.text({box_.x - 14 - widest, box_.y + box_.height / 2}, label,
              {11, Anchor::middle, kFaint, false, -90});
}

void Axes::y_axis(const std::string& label, int ticks) { y_ticks(nice_ticks(y_, ticks), label); }

void Axes::y_axis_whole(const std::string& label, int ticks) {
  std::vector<double> values = nice_ticks(y_, ticks);
  std::erase_if(values, [](double v) { return std::fabs(v - std::round(v)) > 1e-9; });
  y_ticks(values, label);
}

void Axes::x_axis(const std::string& label, int ticks, bool numbers) {
  const double bottom = box_.y + box_.height;
  svg_.line({box_.x, bottom}, {box_.x + box_.width, bottom}, "#9aa1ab");
  if (!numbers) return;
  for (const double value : nice_ticks(x_, ticks)) {
    const Point p = at(value, y_.low);
    svg_.line(p, {p.x, p.y + 4}, "#9aa1ab");
    svg_.text({p.x, p.y + 16}, tick_text(value), {11, Anchor::middle, kFaint});
  }
  if (!label.empty()) svg_.text({box_.x + box_.width / 2, bottom + 32}, label, {11, Anchor::middle, kFaint});
}

void Axes::title(const std::string& text) {
  svg_.text({box_.x, box_.y - 8}, text, {12, Anchor::start, "#1f2430", true});
}

void Axes::curve(const Series& series, std::string_view colour, double width) {
  std::vector<Point> points;
  for (size_t i = 0; i < series.x.size(); ++i) points.push_back(at(series.x[i], series.y[i]));
  svg_.curve(points, colour, width);
}

void Axes::dots(const Series& series, std::string_view colour, double radius) {
  for (size_t i = 0; i < series.x.size(); ++i)
    if (series.y[i] >= y_.low && series.y[i] <= y_.high)
      svg_.circle(at(series.x[i], series.y[i]), radius, colour);
}

void Axes::band(const Band& band, std::string_view colour) {
  std::vector<Point> outline, middle;
  for (size_t i = 0; i < band.x.size(); ++i) {
    outline.push_back(at(band.x[i], band.high[i]));
    middle.push_back(at(band.x[i], band.median[i]));
  }
  for (size_t i = band.x.size(); i-- > 0;) outline.push_back(at(band.x[i], band.low[i]));
  svg_.area(outline, colour, 0.22);
  svg_.curve(middle, colour);
}

void Axes::level(double y, std::string_view colour, const std::string& label) {
  const Point p = at(x_.low, y);
  svg_.line(p, {p.x + box_.width, p.y}, colour, 1, "5 4");
  svg_.text({p.x + box_.width - 4, p.y - 4}, label, {10, Anchor::end, colour});
}

}  // namespace octavo
