// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/svg.h"

#include <fmt/format.h>

#include "octavo/report/page.h"

namespace octavo {
namespace {

std::string coordinates(const std::vector<Point>& points) {
  std::string out;
  for (const Point& p : points) out += fmt::format("{}{:.1f},{:.1f}", out.empty() ? "" : " ", p.x, p.y);
  return out;
}

}  // namespace

Svg::Svg(double width, double height, std::string_view title) {
  body_ = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {0:.0f} {1:.0f}\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\" "
      "font-family=\"Helvetica, Arial, sans-serif\" role=\"img\">\n<title>{2}</title>\n"
      "<rect width=\"{0:.0f}\" height=\"{1:.0f}\" fill=\"#ffffff\"/>\n",
      width, height, escape_markup(title));
}

void Svg::text(Point at, std::string_view text, const TextStyle& style) {
  constexpr std::string_view anchors[] = {"start", "middle", "end"};
  body_ += fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{:g}\" fill=\"{}\" text-anchor=\"{}\"{}{}>{}</text>\n",
      at.x, at.y, style.size, style.colour, anchors[static_cast<size_t>(style.anchor)],
      style.bold ? " font-weight=\"bold\"" : "",
      style.turn != 0 ? fmt::format(" transform=\"rotate({:g} {:.1f} {:.1f})\"", style.turn, at.x, at.y) : "",
      escape_markup(text));
}

void Svg::line(Point from, Point to, std::string_view colour, double width, std::string_view dashes) {
  body_ += fmt::format(
      "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\" "
      "stroke-width=\"{:g}\"{}/>\n",
      from.x, from.y, to.x, to.y, colour, width,
      dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
}

void Svg::curve(const std::vector<Point>& points, std::string_view colour, double width) {
  if (points.size() < 2) return;
  body_ += fmt::format(
      "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{:g}\" "
      "stroke-linejoin=\"round\"/>\n",
      coordinates(points), colour, width);
}

void Svg::area(const std::vector<Point>& points, std::string_view colour, double opacity) {
  if (points.size() < 3) return;
  body_ += fmt::format("<polygon points=\"{}\" fill=\"{}\" fill-opacity=\"{:g}\"/>\n", coordinates(points),
                       colour, opacity);
}

void Svg::rect(const Box& box, std::string_view colour, double opacity) {
  body_ += fmt::format("<rect x=\"{:.2f}\" y=\"{:.2f}\" width=\"{:.2f}\" height=\"{:.2f}\" fill=\"{}\"{}/>\n",
                       box.x, box.y, box.width, box.height, colour,
                       opacity < 1 ? fmt::format(" fill-opacity=\"{:g}\"", opacity) : "");
}

void Svg::circle(Point at, double radius, std::string_view colour) {
  body_ += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"{:g}\" fill=\"{}\"/>\n", at.x, at.y, radius,
                       colour);
}

}  // namespace octavo
