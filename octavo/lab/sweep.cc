// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "octavo/base/error.h"
#include "octavo/lab/axis_values.h"

namespace octavo {
namespace {

bool is_number(const SweepPoint& point) { return std::isfinite(point.x); }

XScale scale_of(const Axis& x) {
  double low = HUGE_VAL, high = -HUGE_VAL;
  for (const AxisValue& value : x.values) {
    const auto number = axis_number(x, value);
    if (!number) return XScale::category;
    low = std::min(low, *number);
    high = std::max(high, *number);
  }
  return low > 0 && high / low >= 4 ? XScale::log2 : XScale::linear;
}

/// The loss of a point that all seeds reached; one that a seed did not reach is no place to train at.
double standing(const SweepPoint& point) {
  return point.diverged > 0 || !std::isfinite(point.loss.mean) ? HUGE_VAL : point.loss.mean;
}

void find_best(SweepCurve& curve, XScale scale, double within) {
  const size_t count = curve.points.size();
  size_t best = 0;
  for (size_t p = 1; p < count; ++p)
    if (standing(curve.points[p]) < standing(curve.points[best])) best = p;
  const double loss = standing(curve.points[best]);
  if (!std::isfinite(loss)) return;
  curve.best = best;
  const auto good = [&](size_t p) { return standing(curve.points[p]) <= loss * (1 + within / 100); };
  if (scale == XScale::category) {
    for (size_t p = 0; p < count; ++p)
      if (good(p)) curve.flat.push_back(p);
    return;
  }
  size_t low = best, high = best;
  while (low > 0 && good(low - 1)) --low;
  while (high + 1 < count && good(high + 1)) ++high;
  for (size_t p = low; p <= high; ++p) curve.flat.push_back(p);
  curve.at_edge = count > 1 && (best == 0 || best + 1 == count);
}

void find_shifts(SweepPanel& panel) {
  const SweepCurve& first = panel.curves.front();
  for (SweepCurve& curve : panel.curves) {
    if (!first.best || !curve.best) continue;
    const double from = first.points[*first.best].x, to = curve.points[*curve.best].x;
    if (from > 0 && to > 0) curve.shift = std::log2(to / from);
  }
}

std::vector<std::string> keys_of(const Axis& axis) {
  std::vector<std::string> keys;
  for (const Setting& s : axis.values.front().settings) keys.push_back(s.key);
  return keys;
}

}  // namespace

void set_sweep(LabPlan& plan, const std::string& x, const std::string& curves,
               const std::vector<std::string>& panels) {
  plan.kind = "sweep";
  plan.keep_models = false;
  plan.sweep = SweepSpec{};
  plan.rows = parse_axis(x, "--x");
  for (const std::string& panel : panels) plan.groups.push_back(parse_axis(panel, "--panels"));
  if (!curves.empty()) {
    plan.groups.push_back(parse_axis(curves, "--curves"));
    plan.sweep->curves = plan.groups.back().name;
  }
  std::vector<std::string> taken = keys_of(plan.rows);
  for (const Axis& axis : plan.groups)
    for (const std::string& key : keys_of(axis)) {
      if (std::find(taken.begin(), taken.end(), key) != taken.end())
        fail_usage(fmt::format("{} is swept twice", key));
      taken.push_back(key);
    }
  for (const Setting& s : plan.overrides)
    if (std::find(taken.begin(), taken.end(), s.key) != taken.end())
      fail_usage(fmt::format("{}: {} is swept and cannot be set for every run", s.source, s.key));
}

double sweep_loss(const Sweep& sweep, const TrialResult& trial) {
  if (!trial.divergence.empty()) return kAbsent;
  return sweep.validation ? trial.val_loss : trial.train_loss;
}

Sweep read_sweep(const LabResult& result) {
  const LabPlan& plan = result.plan;
  Sweep sweep;
  sweep.scale = scale_of(plan.rows);
  for (const GroupResult& group : result.groups)
    for (const RowResult& row : group.rows)
      for (const TrialResult& trial : row.trials)
        if (trial.divergence.empty() && !std::isfinite(trial.val_loss)) sweep.validation = false;

  const bool has_curves = !plan.sweep->curves.empty();
  const size_t of_panel = has_curves ? plan.groups.back().values.size() : 1;
  for (size_t g = 0; g < result.groups.size(); ++g) {
    const GroupResult& group = result.groups[g];
    if (g % of_panel == 0) sweep.panels.push_back({point_label(group.point, has_curves ? 1 : 0), {}});
    SweepCurve curve;
    curve.group = g;
    if (has_curves) curve.label = group.point.values.back().second;
    for (size_t r = 0; r < group.rows.size(); ++r) {
      SweepPoint point;
      point.row = r;
      if (sweep.scale != XScale::category) point.x = *axis_number(plan.rows, plan.rows.values[r]);
      std::vector<double> losses;
      for (const TrialResult& trial : group.rows[r].trials) losses.push_back(sweep_loss(sweep, trial));
      point.loss = estimate(losses);
      point.diverged = group.rows[r].diverged;
      curve.points.push_back(point);
    }
    if (std::all_of(curve.points.begin(), curve.points.end(), is_number))
      std::sort(curve.points.begin(), curve.points.end(),
                [](const SweepPoint& a, const SweepPoint& b) { return a.x < b.x; });
    find_best(curve, sweep.scale, plan.sweep->within);
    sweep.panels.back().curves.push_back(std::move(curve));
  }
  for (SweepPanel& panel : sweep.panels) find_shifts(panel);
  return sweep;
}

}  // namespace octavo
