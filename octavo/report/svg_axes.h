// SPDX-License-Identifier: Apache-2.0
// Data coordinates in a box of a picture, with ticks and labels.
#pragma once
#include <string>
#include <vector>

#include "octavo/report/series.h"
#include "octavo/report/svg.h"

namespace octavo {

struct Range {
  double low = 0, high = 1;
  /// Grows to hold the finite values.
  void include(const std::vector<double>& values);
  /// Adds `share` of the length on both ends; a range without length becomes one around its value.
  void pad(double share);
  static Range none();
  bool empty() const { return low > high; }
};

/// 1, 2 or 5 times a power of ten apart, about `count` of them, all within the range.
std::vector<double> nice_ticks(const Range& range, int count);
/// The shortest text that tells such ticks apart: "0.05", "20k".
std::string tick_text(double value);

class Axes {
 public:
  Axes(Svg& svg, const Box& box, const Range& x, const Range& y) : svg_(svg), box_(box), x_(x), y_(y) {}

  /// Horizontal lines with numbers at the left; a rotated label when it is not empty.
  void y_axis(const std::string& label, int ticks = 5);
  /// The same with whole numbers only.
  void y_axis_whole(const std::string& label, int ticks = 5);
  void x_axis(const std::string& label, int ticks = 6, bool numbers = true);
  void title(const std::string& text);

  Point at(double x, double y) const;
  void curve(const Series& series, std::string_view colour, double width = 1.6);
  void dots(const Series& series, std::string_view colour, double radius = 2.4);
  /// low..high as an area, the median as a curve.
  void band(const Band& band, std::string_view colour);
  void level(double y, std::string_view colour, const std::string& label);

 private:
  void y_ticks(const std::vector<double>& values, const std::string& label);
  Svg& svg_;
  Box box_;
  Range x_, y_;
};

}  // namespace octavo
