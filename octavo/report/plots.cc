// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/plots.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "octavo/report/palette.h"
#include "octavo/report/svg_axes.h"

namespace octavo {
namespace {

Range steps_of(const Report& report) {
  double last = 1;
  for (const RunReport& run : report.runs) last = std::max(last, static_cast<double>(run.steps_done));
  return {0, last};
}

void legend(Svg& svg, const Report& report, Point at, bool with_baseline) {
  for (size_t i = 0; i < report.runs.size(); ++i) {
    if (i == report.baseline && !with_baseline) continue;
    svg.line({at.x, at.y - 4}, {at.x + 20, at.y - 4}, run_colour(report, i), 2.5);
    svg.text({at.x + 26, at.y}, report.runs[i].label, {11});
    at.y += 16;
  }
}

std::string plot_loss(const Report& report) {
  Range y = Range::none();
  // What happens in the first tenth would press the rest flat.
  for (const RunReport& run : report.runs) {
    for (size_t i = 0; i < run.smooth.x.size(); ++i)
      if (run.smooth.x[i] * 10 >= static_cast<double>(run.steps_done)) y.include({run.smooth.y[i]});
    y.include(run.validation.y);
  }
  if (y.empty()) return "";
  y.pad(0.05);
  Svg svg(640, 340, "Training loss (mean over the last steps) and validation loss (dots)");
  Axes axes(svg, {64, 28, 556, 262}, steps_of(report), y);
  axes.y_axis("loss, nats a token");
  axes.x_axis("step");
  for (size_t i = 0; i < report.runs.size(); ++i) {
    Series shown = report.runs[i].smooth;
    // A curve that is cut at the frame would run along it.
    const auto inside =
        std::find_if(shown.y.begin(), shown.y.end(), [&](double v) { return v <= y.high; }) - shown.y.begin();
    shown.x.erase(shown.x.begin(), shown.x.begin() + inside);
    shown.y.erase(shown.y.begin(), shown.y.begin() + inside);
    axes.curve(shown, run_colour(report, i));
    axes.dots(report.runs[i].validation, run_colour(report, i));
  }
  svg.text({64, 20}, "line: training loss, running mean; dots: validation loss", {11});
  legend(svg, report, {430, 46}, true);
  return svg.str();
}

std::string plot_delta(const Report& report) {
  Range y = Range::none();
  for (const RunReport& run : report.runs) {
    y.include(run.delta.y);
    y.include(run.validation_delta.y);
  }
  if (y.empty()) return "";
  y.include({0});
  y.pad(0.08);
  const std::string against = report.runs[report.baseline].label;
  Svg svg(640, 300, "Distance of the loss to " + against);
  Axes axes(svg, {64, 28, 556, 222}, steps_of(report), y);
  axes.y_axis("loss minus loss of " + against);
  axes.x_axis("step");
  axes.level(0, run_colour(report, report.baseline), "");
  for (size_t i = 0; i < report.runs.size(); ++i) {
    axes.curve(report.runs[i].delta, run_colour(report, i));
    axes.dots(report.runs[i].validation_delta, run_colour(report, i));
  }
  legend(svg, report, {430, 46}, false);
  return svg.str();
}

/// Underflow, saturation and SNR of a run side by side, one colour a class.
std::string plot_rounding(const Report& report, const RunReport& run) {
  if (run.tensors.bands.empty()) return "";
  struct Figure {
    const char* title;
    const char* label;
    Band ClassBands::*band;
    double factor;
  };
  constexpr Figure figures[] = {{"Underflow", "% of the non-zero values", &ClassBands::underflow, 100},
                                {"Saturation", "% of the values", &ClassBands::saturation, 100},
                                {"Signal to noise", "dB", &ClassBands::snr, 1}};
  Svg svg(
      960, 300,
      "What quantization lost in " + run.label + ": smallest, median, largest over the tensors of a class");
  std::vector<FormatFacts> formats;
  for (const auto& [name, facts] : report.formats)
    for (const ClassBands& bands : run.tensors.bands)
      if (std::count(bands.formats.begin(), bands.formats.end(), name) > 0) {
        formats.push_back(facts);
        break;
      }
  for (size_t f = 0; f < 3; ++f) {
    Range y = Range::none();
    std::vector<std::pair<Band, std::string>> bands;
    for (size_t c = 0; c < run.tensors.bands.size(); ++c) {
      Band band = run.tensors.bands[c].*figures[f].band;
      for (std::vector<double>* values : {&band.low, &band.median, &band.high}) {
        for (double& v : *values) v *= figures[f].factor;
        y.include(*values);
      }
      bands.emplace_back(band, kLineColours[c].on_light);
    }
    if (f < 2) y.include({0, 1e-3});
    if (f == 2)
      for (const FormatFacts& facts : formats) y.include({facts.ideal_snr_db});
    y.pad(0.06);
    if (f < 2) y.low = 0;
    Axes axes(svg, {64 + 318.0 * static_cast<double>(f), 30, 240, 190}, steps_of(report), y);
    axes.y_axis(figures[f].label);
    axes.x_axis("step", 4);
    axes.title(figures[f].title);
    if (f == 2)
      for (const FormatFacts& facts : formats)
        axes.level(facts.ideal_snr_db, "#5b6472", "ideal " + facts.name);
    for (const auto& [band, colour] : bands) axes.band(band, colour);
  }
  for (size_t c = 0; c < run.tensors.bands.size(); ++c) {
    const double x = 64 + 200.0 * static_cast<double>(c);
    svg.line({x, 284}, {x + 20, 284}, kLineColours[c].on_light, 2.5);
    std::string names;
    for (const std::string& format : run.tensors.bands[c].formats)
      names += (names.empty() ? "" : "/") + format;
    svg.text({x + 26, 288}, fmt::format("{} ({})", to_string(run.tensors.bands[c].tensor_class), names),
             {11});
  }
  return svg.str();
}

std::string plot_memory(const Report& report) {
  std::map<std::string, double> categories;
  double most = 0;
  for (const RunReport& run : report.runs) {
    if (std::isfinite(run.memory_total)) most = std::max(most, run.memory_total);
    for (const auto& [category, bytes] : run.data.memory)
      categories[category] = std::max(categories[category], bytes);
  }
  if (most <= 0) return "";
  constexpr double kRow = 30, kLeft = 150, kWidth = 470;
  const double bottom = 20 + kRow * static_cast<double>(report.runs.size());
  Svg svg(720, bottom + 66, "Memory of the runs by category");
  for (size_t i = 0; i < report.runs.size(); ++i) {
    const RunReport& run = report.runs[i];
    const double y = 16 + kRow * static_cast<double>(i);
    svg.text({kLeft - 10, y + 15}, run.label, {11, Anchor::end});
    double x = kLeft;
    size_t c = 0;
    for (const auto& [category, unused] : categories) {
      const auto found = run.data.memory.find(category);
      const double width = found == run.data.memory.end() ? 0 : kWidth * found->second / most;
      svg.rect({x, y, std::max(0.0, width - 1), kRow - 8}, kLineColours[c++ % kLineColours.size()].on_light);
      x += width;
    }
    if (std::isfinite(run.memory_total))
      svg.text({x + 6, y + 15}, fmt::format("{:.1f} MiB", run.memory_total / (1 << 20)), {11});
  }
  size_t c = 0;
  for (const auto& [category, unused] : categories) {
    const double x = kLeft + 160.0 * static_cast<double>(c % 3),
                 y = bottom + 18 + 16.0 * static_cast<double>(c / 3);
    svg.rect({x, y - 9, 10, 10}, kLineColours[c % kLineColours.size()].on_light);
    svg.text({x + 16, y}, category, {11});
    ++c;
  }
  return svg.str();
}

/// A part of a file name: letters, digits, dot, dash and underscore stay.
std::string file_part(const std::string& label) {
  std::string out;
  for (const char c : label)
    out += (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-'
               ? c
               : '_';
  return out;
}

}  // namespace

std::string run_colour(const Report& report, size_t run) {
  if (report.runs.size() > 1 && run == report.baseline) return kBaselineColour.on_light;
  const size_t place = run - (report.runs.size() > 1 && run > report.baseline ? 1 : 0);
  return kLineColours[place % kLineColours.size()].on_light;
}

std::map<std::string, std::string> make_plots(const Report& report) {
  std::map<std::string, std::string> out{{"loss.svg", plot_loss(report)},
                                         {"delta.svg", plot_delta(report)},
                                         {"memory.svg", plot_memory(report)}};
  for (size_t i = 0; i < report.runs.size(); ++i) {
    const RunReport& run = report.runs[i];
    std::string name = file_part(run.label);
    if (out.contains("scales-" + name + ".svg")) name += fmt::format("-{}", i + 1);
    out["scales-" + name + ".svg"] = plot_scales(run);
    out["bias-" + name + ".svg"] = plot_bias(run);
    out["rounding-" + name + ".svg"] = plot_rounding(report, run);
    out["histogram-" + name + ".svg"] = plot_histogram(report, run);
  }
  std::erase_if(out, [](const auto& plot) { return plot.second.empty(); });
  return out;
}

}  // namespace octavo
