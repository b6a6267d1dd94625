// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "octavo/lab/result.h"
#include "octavo/lab/sweep.h"

namespace octavo {
namespace {

constexpr std::array kShown{TensorClass::weights, TensorClass::activations, TensorClass::gradients};
const char* kNone = "–";

std::string with_band(const Estimate& e, int digits, bool sign) {
  if (!std::isfinite(e.mean)) return kNone;
  std::string text = sign ? fmt::format("{:+.{}f}", e.mean, digits) : fmt::format("{:.{}f}", e.mean, digits);
  if (std::isfinite(e.band)) text += fmt::format(" ± {:.{}f}", e.band, digits);
  return text;
}

/// "31.2 30.9 24.4": a figure for each class, or one dash when no tensor carries a scale.
template <class Text>
std::string by_class(const RowResult& row, Text text) {
  if (row.classes.empty()) return kNone;
  std::string out;
  for (const TensorClass c : kShown) {
    const auto found = row.classes.find(c);
    out += (out.empty() ? "" : " ") + (found == row.classes.end() ? std::string(kNone) : text(found->second));
  }
  return out;
}

std::string bytes_text(double bytes) {
  if (!std::isfinite(bytes)) return kNone;
  return bytes < (1 << 20) ? fmt::format("{:.1f} KiB", bytes / (1 << 10))
                           : fmt::format("{:.1f} MiB", bytes / (1 << 20));
}

std::vector<std::string> cells(const RowResult& row) {
  const std::string delta =
      row.is_baseline ? "baseline" : with_band(row.delta, 2, true) + (differs(row.delta) ? " *" : "");
  std::string loss = with_band(row.val_loss, 4, false);
  if (row.diverged > 0) loss += fmt::format(" ({} of {} diverged)", row.diverged, row.trials.size());
  return {row.label,
          loss,
          delta,
          by_class(row, [](const ClassFigures& f) { return fmt::format("{:.1f}", f.snr_db); }),
          by_class(row, [](const ClassFigures& f) { return fmt::format("{:.3g}", 100 * f.underflow); }),
          bytes_text(row.activation_bytes),
          bytes_text(row.weight_bytes),
          std::isfinite(row.tokens_per_second) ? fmt::format("{:.0f}", row.tokens_per_second) : kNone};
}

/// Columns of a terminal; every character used here is one wide.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string aligned(const std::vector<std::vector<std::string>>& table) {
  std::vector<size_t> widths(table.front().size(), 0);
  for (const auto& row : table)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  std::string out;
  for (const auto& row : table) {
    std::string line;
    for (size_t c = 0; c < row.size(); ++c) {
      const std::string space(widths[c] - width_of(row[c]), ' ');
      line += (c == 0 ? "" : "  ") + (c == 0 ? row[c] + space : space + row[c]);
    }
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return out;
}

std::string interval_text(const GroupResult& group, const IntervalSpec& spec) {
  const Interval& i = *group.interval;
  if (!i.low)
    return fmt::format("{}: no constant within {:g} % of {}\n", spec.family, spec.within,
                       std::find_if(group.rows.begin(), group.rows.end(), [](const RowResult& r) {
                         return r.is_baseline;
                       })->label);
  const std::string noise =
      i.band > spec.within
          ? fmt::format(", but some are only known to ± {:.2g} %: more seeds or steps", i.band)
          : "";
  return fmt::format("{}: constants {}{:g} to {:g}{} are within {:g} %{}\n", spec.family,
                     i.open_low ? "(at least) " : "", *i.low, *i.high, i.open_high ? " (at least)" : "",
                     spec.within, noise);
}

/// "2^-9 to 2^-7": names one by one.
std::string flat_text(const SweepCurve& curve, XScale scale, const std::vector<AxisValue>& values) {
  const auto label = [&](size_t p) { return values[curve.points[p].row].label; };
  if (scale != XScale::category && curve.flat.size() > 1)
    return label(curve.flat.front()) + " to " + label(curve.flat.back());
  std::string text;
  for (const size_t p : curve.flat) text += (text.empty() ? "" : ", ") + label(p);
  return text;
}

std::vector<std::string> cells(const SweepCurve& curve, const Sweep& sweep, const LabResult& result) {
  const std::vector<AxisValue>& values = result.plan.rows.values;
  size_t diverged = 0, runs = 0;
  for (const SweepPoint& point : curve.points) {
    diverged += point.diverged;
    runs += result.groups[curve.group].rows[point.row].trials.size();
  }
  const std::string lost = diverged > 0 ? fmt::format("{} of {}", diverged, runs) : kNone;
  const std::string name = curve.label.empty() ? "all" : curve.label;
  if (!curve.best) return {name, kNone, kNone, kNone, kNone, lost};
  const SweepPoint& best = curve.points[*curve.best];
  return {name,
          values[best.row].label + (curve.at_edge ? " (edge)" : ""),
          with_band(best.loss, 4, false),
          curve.shift == 0             ? "0"
          : std::isfinite(curve.shift) ? fmt::format("{:+.3g}", curve.shift)
                                       : kNone,
          flat_text(curve, sweep.scale, values),
          lost};
}

std::string sweep_text(const Sweep& sweep, const LabResult& result) {
  const SweepSpec& spec = *result.plan.sweep;
  std::vector<std::vector<std::string>> table{
      {spec.curves, "best " + result.plan.rows.name, sweep.validation ? "validation loss" : "training loss",
       "shift, log2", fmt::format("within {:g} %", spec.within), "diverged"}};
  const bool several = sweep.panels.size() > 1;
  bool edge = false;
  for (const SweepPanel& panel : sweep.panels) {
    if (several) table.push_back({panel.label + ":", "", "", "", "", ""});
    for (const SweepCurve& curve : panel.curves) {
      table.push_back(cells(curve, sweep, result));
      if (several) table.back()[0] = "  " + table.back()[0];
      edge |= curve.at_edge;
    }
  }
  std::string out = aligned(table);
  const size_t seeds = result.plan.seeds.size();
  out += seeds > 1
             ? fmt::format("{} seeds. ±: {:.0f} % interval of the mean (Student).", seeds, 100 * kConfidence)
             : std::string("One seed: there is no band, and small differences mean nothing.");
  if (edge) out += " (edge): the grid ends there, a better value may lie beyond.";
  return out + "\n";
}

}  // namespace

std::string to_text(const LabResult& result) {
  const LabPlan& plan = result.plan;
  if (plan.sweep) return sweep_text(read_sweep(result), result);
  std::vector<std::vector<std::string>> table{{plan.rows.name, "validation loss", "Δ %", "worst SNR, dB",
                                               "worst underflow, %", "activations", "weights", "tokens/s"},
                                              {"", "", "", "w a g", "w a g", "", "", ""}};
  // One table for all groups, so that their columns stand under each other.
  const bool several = result.groups.size() > 1;
  for (const GroupResult& group : result.groups) {
    if (several) table.push_back({group.point.label + ":", "", "", "", "", "", "", ""});
    for (const RowResult& row : group.rows) {
      table.push_back(cells(row));
      if (several) table.back()[0] = "  " + table.back()[0];
    }
  }
  std::string out = aligned(table);
  for (const GroupResult& group : result.groups)
    if (group.interval)
      out += (several ? group.point.label + ": " : "") + interval_text(group, plan.interval);
  const size_t seeds = plan.seeds.size();
  if (seeds > 1)
    out += fmt::format(
        "{} seeds. ±: {:.0f} % interval of the mean (Student); Δ is paired by seed, * leaves out 0.\n", seeds,
        100 * kConfidence);
  else
    out += "One seed: there is no band, and small differences mean nothing.\n";
  return out + "w a g: weights, activations, gradients; the worst tensor at its worst logged step.\n";
}

}  // namespace octavo
