// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "octavo/report/palette.h"
#include "octavo/report/plots.h"
#include "octavo/report/svg_axes.h"

namespace octavo {
namespace {

constexpr double kCell = 12, kMapWidth = 210, kLabels = 128, kGap = 18, kTop = 40;

struct Map {
  std::vector<const TensorRow*> rows;
  Range range = Range::none();
  TensorClass tensor_class = TensorClass::other;
};

std::vector<Map> maps_of(const RunReport& run) {
  std::vector<Map> out;
  for (const TensorRow& row : run.tensors.rows) {
    if (out.empty() || out.back().tensor_class != row.tensor_class)
      out.push_back({{}, Range::none(), row.tensor_class});
    out.back().rows.push_back(&row);
    for (const float value : row.scale) out.back().range.include({static_cast<double>(value)});
  }
  std::erase_if(out, [](const Map& map) { return map.range.empty(); });
  return out;
}

void draw_map(Svg& svg, const Map& map, const std::vector<double>& steps, double left) {
  const double columns = static_cast<double>(steps.size()),
               length = std::max(1.0, map.range.high - map.range.low);
  std::string formats;
  for (const TensorRow* row : map.rows)
    if (formats.find(row->id.format) == std::string::npos)
      formats += (formats.empty() ? "" : "/") + row->id.format;
  svg.text({left, 18}, fmt::format("{} ({})", to_string(map.tensor_class), formats),
           {12, Anchor::start, "#1f2430", true});
  svg.text({left, 33}, "log2(scale)", {10, Anchor::start, "#5b6472"});
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const TensorRow& row = *map.rows[r];
    const double y = kTop + kCell * static_cast<double>(r);
    const std::string name = fmt::format("{}{}", row.layer >= 0 ? fmt::format("{} ", row.layer) : "",
                                         short_name(row.id.tensor, row.id.role));
    svg.text({left - 6, y + 9}, name, {9, Anchor::end, "#5b6472"});
    // Equal neighbours become one rectangle: the file stays small.
    for (size_t begin = 0, s = 1; s <= steps.size(); ++s) {
      if (s < steps.size() &&
          (row.scale[s] == row.scale[begin] || (std::isnan(row.scale[s]) && std::isnan(row.scale[begin]))))
        continue;
      if (std::isfinite(row.scale[begin]))
        svg.rect({left + kMapWidth * static_cast<double>(begin) / columns, y,
                  kMapWidth * static_cast<double>(s - begin) / columns, kCell - 1},
                 ramp_colour((static_cast<double>(row.scale[begin]) - map.range.low) / length));
      begin = s;
    }
  }
  const double bottom = kTop + kCell * static_cast<double>(map.rows.size());
  svg.text({left, bottom + 12}, fmt::format("step {:.0f}", steps.front()), {10, Anchor::start, "#5b6472"});
  svg.text({left + kMapWidth, bottom + 12}, fmt::format("{:.0f}", steps.back()),
           {10, Anchor::end, "#5b6472"});
  constexpr int kSwatches = 24;
  for (int i = 0; i < kSwatches; ++i)
    svg.rect({left + kMapWidth * i / kSwatches, bottom + 22, kMapWidth / kSwatches + 0.5, 9},
             ramp_colour((i + 0.5) / kSwatches));
  svg.text({left, bottom + 43}, tick_text(map.range.low), {10, Anchor::start, "#5b6472"});
  svg.text({left + kMapWidth, bottom + 43}, tick_text(map.range.high), {10, Anchor::end, "#5b6472"});
}

}  // namespace

std::string plot_scales(const RunReport& run) {
  const std::vector<Map> maps = maps_of(run);
  if (maps.empty()) return "";
  size_t most = 0;
  for (const Map& map : maps) most = std::max(most, map.rows.size());
  const double column = kLabels + kMapWidth + kGap;
  Svg svg(column * static_cast<double>(maps.size()), kTop + kCell * static_cast<double>(most) + 54,
          "log2 of every scale of " + run.label + " over the steps");
  for (size_t m = 0; m < maps.size(); ++m)
    draw_map(svg, maps[m], run.tensors.steps, kLabels + column * static_cast<double>(m));
  return svg.str();
}

std::string plot_bias(const RunReport& run) {
  std::vector<LayerKind> kinds;
  for (const LayerKind kind : kLayerKinds)
    for (const ClassBands& bands : run.tensors.bands)
      if (bands.bias.contains(kind) && !bands.bias.at(kind).x.empty() &&
          (kinds.empty() || kinds.back() != kind))
        kinds.push_back(kind);
  if (kinds.empty()) return "";
  constexpr double kWidth = 180, kHeight = 110, kColumn = 204, kRow = 160;
  Svg svg(80 + kColumn * static_cast<double>(kinds.size()),
          24 + kRow * static_cast<double>(run.tensors.bands.size()) + 16,
          "Scaling bias b of " + run.label + ", scale = 2^-b: smallest, median and largest over the layers");
  for (size_t r = 0; r < run.tensors.bands.size(); ++r) {
    const ClassBands& bands = run.tensors.bands[r];
    Range y = Range::none();
    for (const auto& [kind, band] : bands.bias) {
      y.include(band.low);
      y.include(band.high);
    }
    y.pad(0.08);
    for (size_t k = 0; k < kinds.size(); ++k) {
      const Box box{64 + kColumn * static_cast<double>(k), 30 + kRow * static_cast<double>(r), kWidth,
                    kHeight};
      Axes axes(svg, box, {0, std::max(1.0, static_cast<double>(run.tensors.steps.back()))}, y);
      axes.y_axis_whole(k == 0 ? "scaling bias b" : "", 4);
      axes.x_axis(r + 1 == run.tensors.bands.size() ? "step" : "", 3);
      axes.title(fmt::format("{}, {}", to_string(bands.tensor_class), to_string(kinds[k])));
      if (const auto found = bands.bias.find(kinds[k]); found != bands.bias.end())
        axes.band(found->second, kLineColours[r % kLineColours.size()].on_light);
    }
  }
  return svg.str();
}

}  // namespace octavo
