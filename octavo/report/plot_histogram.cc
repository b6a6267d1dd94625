// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "octavo/report/palette.h"
#include "octavo/report/plots.h"
#include "octavo/report/svg_axes.h"

namespace octavo {
namespace {

constexpr const char *kBefore = "#9aa1ab", *kAfter = kLineColours[0].on_light, *kRangeLegend = "#d9e8f3";

/// A tensor of a class in the middle of the network with a histogram at the last step that has any.
const TensorRow* middle_row(const RunReport& run, TensorClass wanted) {
  int deepest = 0;
  for (const TensorRow& row : run.tensors.rows) deepest = std::max(deepest, row.layer);
  const TensorRow* nearest = nullptr;
  for (const TensorRow& row : run.tensors.rows) {
    if (row.tensor_class != wanted || row.histograms.empty() || row.histograms.back().counts.empty())
      continue;
    if (!nearest || std::abs(row.layer - deepest / 2) < std::abs(nearest->layer - deepest / 2))
      nearest = &row;
  }
  return nearest;
}

std::string short_layer(const TensorRow& row) {
  return row.layer < 0 ? row.id.tensor
                       : fmt::format("block {} {}", row.layer, short_name(row.id.tensor, row.id.role));
}

struct Shape {
  std::vector<double> exponents, shares;  ///< left ends of the bars; percent of the values
};

Shape shape_of(const ExponentCounts& h, double shift) {
  double total = 0;
  for (const uint32_t count : h.counts) total += count;
  Shape out;
  for (size_t i = 0; i < h.counts.size(); ++i) {
    out.exponents.push_back(h.first + static_cast<double>(i) + shift);
    out.shares.push_back(100 * h.counts[i] / total);
  }
  return out;
}

void draw(Svg& svg, const TensorRow& row, const FormatFacts& format, double step, double top) {
  const ExponentCounts& counts = row.histograms.back();
  const float scale = row.scale.back();
  if (!std::isfinite(scale)) return;
  const Shape before = shape_of(counts, 0), after = shape_of(counts, -static_cast<double>(scale));
  Range x = Range::none(), y{0, 0};
  x.include({before.exponents.front(), before.exponents.back() + 1, after.exponents.front(),
             after.exponents.back() + 1, std::log2(format.min_subnormal), std::log2(format.max)});
  x.pad(0.02);
  y.include(before.shares);
  y.high *= 1.25;
  Axes axes(svg, {64, top, 560, 130}, x, y);
  const Point left = axes.at(std::log2(format.min_normal), y.high), right = axes.at(std::log2(format.max), 0);
  const Point least = axes.at(std::log2(format.min_subnormal), y.high);
  svg.rect({left.x, left.y, right.x - left.x, right.y - left.y}, "#0072b2", 0.10);
  svg.rect({least.x, least.y, left.x - least.x, right.y - left.y}, "#0072b2", 0.05);
  axes.y_axis("% of the values", 4);
  axes.x_axis("log2 of the magnitude", 10);
  axes.title(fmt::format("{} of {}, step {:.0f}: scaled by 2^{:g} into {}", to_string(row.tensor_class),
                         short_layer(row), step, -scale, format.name));
  const auto bars = [&](const Shape& shape, std::string_view colour, double opacity) {
    for (size_t i = 0; i < shape.shares.size(); ++i) {
      const Point a = axes.at(shape.exponents[i], shape.shares[i]), b = axes.at(shape.exponents[i] + 1, 0);
      svg.rect({a.x + 0.5, a.y, b.x - a.x - 1, b.y - a.y}, colour, opacity);
    }
  };
  bars(before, kBefore, 0.85);
  bars(after, kAfter, 0.85);
  const std::pair<double, const char*> marks[] = {
      {format.min_subnormal, "smallest"}, {format.min_normal, "smallest normal"}, {format.max, "largest"}};
  for (const auto& [value, name] : marks) {
    const Point p = axes.at(std::log2(value), y.high);
    const bool behind = value == format.min_normal;  // the smallest is near, on its left
    svg.line(p, {p.x, top + 130}, "#1f2430", 1, "4 3");
    svg.text({p.x + (behind ? 3 : -3), p.y + 10}, name, {9, behind ? Anchor::start : Anchor::end, "#1f2430"});
  }
}

}  // namespace

std::string plot_histogram(const Report& report, const RunReport& run) {
  std::vector<const TensorRow*> rows;
  for (const TensorClass wanted : kTensorClasses)
    if (const TensorRow* row = middle_row(run, wanted); row && report.formats.contains(row->id.format))
      rows.push_back(row);
  if (rows.empty()) return "";
  constexpr double kRow = 200, kTop = 54;
  Svg svg(650, kTop - 10 + kRow * static_cast<double>(rows.size()),
          "Exponents of values of " + run.label + " before and after scaling");
  double x = 64;
  for (const auto& [colour, name] : {std::pair{kBefore, "before scaling"},
                                     {kAfter, "after scaling"},
                                     {kRangeLegend, "range of the format, lighter: subnormal numbers"}}) {
    svg.rect({x, 10, 11, 11}, colour);
    svg.text({x + 17, 20}, name, {11});
    x += 140;
  }
  for (size_t i = 0; i < rows.size(); ++i)
    draw(svg, *rows[i], report.formats.at(rows[i]->id.format), run.tensors.histogram_steps.back(),
         kTop + kRow * static_cast<double>(i));
  return svg.str();
}

}  // namespace octavo
