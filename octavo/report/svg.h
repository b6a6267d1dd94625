// SPDX-License-Identifier: Apache-2.0
// A picture as SVG: shapes in pixels, y downwards. Text is escaped; the result is well-formed XML.
#pragma once
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

struct Point {
  double x = 0, y = 0;
};
struct Box {
  double x = 0, y = 0, width = 0, height = 0;
};

enum class Anchor { start, middle, end };

struct TextStyle {
  double size = 12;
  Anchor anchor = Anchor::start;
  std::string_view colour = "#1f2430";
  bool bold = false;
  double turn = 0;  ///< degrees clockwise around the text's own place
};

class Svg {
 public:
  /// `title` is read out by screen readers and shown on hovering.
  Svg(double width, double height, std::string_view title);
  void text(Point at, std::string_view text, const TextStyle& style = {});
  void line(Point from, Point to, std::string_view colour, double width = 1, std::string_view dashes = "");
  /// Nothing for fewer than two points.
  void curve(const std::vector<Point>& points, std::string_view colour, double width = 1.6);
  void area(const std::vector<Point>& points, std::string_view colour, double opacity);
  void rect(const Box& box, std::string_view colour, double opacity = 1);
  void circle(Point at, double radius, std::string_view colour);
  std::string str() const { return body_ + "</svg>\n"; }

 private:
  std::string body_;
};

}  // namespace octavo
