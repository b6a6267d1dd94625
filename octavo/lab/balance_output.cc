// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "octavo/lab/balance.h"
#include "octavo/report/palette.h"
#include "octavo/report/svg_axes.h"

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

/// Of a load. Decimal, as the sizes of accelerators' memories are given.
std::string size_text(double bytes) {
  if (bytes >= 1e9) return fmt::format("{:.3f} GB", bytes / 1e9);
  if (bytes >= 1e6) return fmt::format("{:.2f} MB", bytes / 1e6);
  return fmt::format("{:.1f} kB", bytes / 1e3);
}

Json to_json(const LoadSpread& s) {
  return {{"least", s.least},           {"most", s.most},         {"mean", s.mean},
          {"imbalance", s.imbalance()}, {"padding", s.padding()}, {"lower_bound", s.lower_bound}};
}

}  // namespace

std::string to_text(const BalanceResult& result) {
  std::string out;
  for (const BalancedModel& m : result.models) {
    if (!out.empty()) out += "\n";
    out +=
        fmt::format("{}: {:.4g}M parameters in {} tensors, {} of state in {}; largest {}, {}\n", m.label,
                    static_cast<double>(m.elements) / 1e6, m.tensors, size_text(static_cast<double>(m.bytes)),
                    result.recipe, m.largest.name, size_text(static_cast<double>(m.largest.bytes)));
    out += fmt::format("{:>5}  {:>11} {:>11} {:>9} {:>8} {:>8} {:>7}   {:>9} {:>8}   {:>9} {:>8}\n", "",
                       "tensors", "", "largest", "", "largest", "Graham", "elements", "", "mixed", "");
    out += fmt::format("{:>5}  {:>11} {:>11} {:>9} {:>8} {:>8} {:>7}   {:>9} {:>8}   {:>9} {:>8}\n", "ranks",
                       "smallest", "largest", "/mean", "padding", "/bound", "factor", "/mean", "padding",
                       "/mean", "padding");
    for (const BalanceRow& r : m.rows)
      out += fmt::format(
          "{:>5}  {:>11} {:>11} {:>9.4f} {:>7.2f}% {:>8.4f} {:>7.4f}   {:>9.4f} {:>7.2f}%   {:>9.4f} "
          "{:>7.2f}%\n",
          r.ranks, size_text(r.bytes.least), size_text(r.bytes.most), r.bytes.imbalance(),
          100 * r.bytes.padding(), r.bytes.most / r.bytes.lower_bound, graham_factor(r.ranks),
          r.elements.imbalance(), 100 * r.elements.padding(), r.mixed.imbalance(), 100 * r.mixed.padding());
  }
  return out +
         "\ntensors: bytes of state, every tensor whole. elements: the same by their number. mixed: tensors "
         "with a "
         "scale whole, the others cut.\nSlices of all tensors are even: largest/mean 1, no padding.\n";
}

std::string to_json(const BalanceResult& result) {
  Json j{{"schema", "octavo-balance-1"}, {"recipe", result.recipe}, {"models", Json::array()}};
  for (const BalancedModel& m : result.models) {
    Json model{{"label", m.label},
               {"vocab_size", m.vocab_size},
               {"tensors", m.tensors},
               {"elements", m.elements},
               {"bytes", m.bytes},
               {"largest",
                {{"name", m.largest.name}, {"elements", m.largest.elements}, {"bytes", m.largest.bytes}}}};
    for (const BalanceRow& r : m.rows)
      model["rows"].push_back({{"ranks", r.ranks},
                               {"graham", graham_factor(r.ranks)},
                               {"bytes", to_json(r.bytes)},
                               {"elements", to_json(r.elements)},
                               {"mixed", to_json(r.mixed)}});
    j["models"].push_back(std::move(model));
  }
  return j.dump();
}

std::string plot_balance(const BalanceResult& result) {
  Range x = Range::none(), y{0, 0};
  for (const BalancedModel& m : result.models)
    for (const BalanceRow& r : m.rows) {
      x.include({std::log2(r.ranks)});
      y.include({std::log2(r.bytes.imbalance()), std::log2(r.mixed.imbalance())});
    }
  y.high = std::ceil(y.high + 0.1);
  x.pad(0.02);
  const double legend = 18.0 * static_cast<double>(result.models.size());
  Svg svg(840, 400 + legend, "Largest load over the mean when whole tensors are divided among ranks");
  svg.text({64, 20}, "largest load / mean, state of " + result.recipe, {13, Anchor::start, "#1f2430", true});
  for (int panel = 0; panel < 2; ++panel) {
    const Box box{64 + 400.0 * panel, 56, 330, 270};
    Axes axes(svg, box, x, y);
    axes.title(panel == 0 ? "every tensor whole" : "tensors with a scale whole, others cut");
    // Both axes are logarithmic: their numbers are written here.
    for (int e = 0; e <= static_cast<int>(y.high); ++e) {
      axes.level(e, "#c9ced6", "");
      svg.text({box.x - 6, axes.at(x.low, e).y + 4}, fmt::format("{}", 1 << e), {11, Anchor::end, "#5b6472"});
    }
    axes.x_axis("", 6, false);
    for (int e = static_cast<int>(std::ceil(x.low)); e <= static_cast<int>(x.high); ++e)
      svg.text({axes.at(e, y.low).x, box.y + box.height + 18}, fmt::format("{}", 1 << e),
               {11, Anchor::middle, "#5b6472"});
    svg.text({box.x + box.width / 2, box.y + box.height + 36}, "ranks", {11, Anchor::middle, "#5b6472"});
    for (size_t i = 0; i < result.models.size(); ++i) {
      Series series;
      for (const BalanceRow& r : result.models[i].rows)
        series.add(std::log2(r.ranks), std::log2((panel == 0 ? r.bytes : r.mixed).imbalance()));
      const char* const colour = kLineColours[i % kLineColours.size()].on_light;
      axes.curve(series, colour);
      axes.dots(series, colour);
    }
  }
  for (size_t i = 0; i < result.models.size(); ++i) {
    const double at = 384 + 18.0 * static_cast<double>(i);
    svg.line({64, at - 4}, {84, at - 4}, kLineColours[i % kLineColours.size()].on_light, 2.5);
    svg.text({92, at}, result.models[i].label, {11});
  }
  return svg.str();
}

}  // namespace octavo
