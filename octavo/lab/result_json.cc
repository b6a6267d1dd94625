// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <nlohmann/json.hpp>

#include "octavo/lab/result.h"
#include "octavo/lab/sweep.h"

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const Estimate& e) {
  return {{"mean", number(e.mean)}, {"band", number(e.band)}, {"seeds", e.count}};
}

Json to_json(const std::map<TensorClass, ClassFigures>& classes) {
  Json out = Json::object();
  for (const auto& [tensor_class, f] : classes)
    out[std::string(to_string(tensor_class))] = {{"formats", f.formats},
                                                 {"worst_snr_db", number(f.snr_db)},
                                                 {"worst_underflow", number(f.underflow)},
                                                 {"worst_saturation", number(f.saturation)}};
  return out;
}

Json to_json(const TrialResult& trial) {
  Json out;
  out["run"] = trial.run;
  out["seed"] = trial.seed;
  out["steps"] = trial.steps;
  out["diverged"] = trial.divergence.empty() ? Json(nullptr) : Json(trial.divergence);
  out["val_loss"] = number(trial.val_loss);
  out["train_loss"] = number(trial.train_loss);
  out["tokens_per_second"] = number(trial.tokens_per_second);
  return out;
}

Json to_json(const RowResult& row, bool compared) {
  Json out;
  out["label"] = row.label;
  out["baseline"] = row.is_baseline;
  out["val_loss"] = to_json(row.val_loss);
  out["delta_percent"] = compared ? to_json(row.delta) : Json(nullptr);
  out["differs"] = compared ? Json(differs(row.delta)) : Json(nullptr);
  out["diverged"] = row.diverged;
  out["classes"] = to_json(row.classes);
  out["activation_bytes"] = number(row.activation_bytes);
  out["weight_bytes"] = number(row.weight_bytes);
  out["memory"] = Json::object();
  for (const auto& [category, bytes] : row.trials.front().memory) out["memory"][category] = number(bytes);
  out["tokens_per_second"] = number(row.tokens_per_second);
  out["parameters"] = number(row.parameters);
  out["trials"] = Json::array();
  for (const TrialResult& trial : row.trials) out["trials"].push_back(to_json(trial));
  return out;
}

Json to_json(const Interval& interval, const IntervalSpec& spec) {
  Json out;
  out["family"] = spec.family;
  out["within_percent"] = spec.within;
  out["low"] = interval.low ? Json(*interval.low) : Json(nullptr);
  out["high"] = interval.high ? Json(*interval.high) : Json(nullptr);
  out["open_low"] = interval.open_low;
  out["open_high"] = interval.open_high;
  out["band"] = number(interval.band);
  out["points"] = Json::array();
  for (const ConstantPoint& point : interval.points)
    out["points"].push_back({{"constant", point.constant}, {"row", point.row}});
  return out;
}

const char* name_of(XScale scale) {
  return scale == XScale::log2 ? "log2" : scale == XScale::linear ? "linear" : "category";
}

Json to_json(const SweepCurve& curve, const Sweep& sweep, const LabResult& result) {
  const std::vector<AxisValue>& values = result.plan.rows.values;
  Json out;
  out["label"] = curve.label;
  out["group"] = curve.group;
  out["best"] = curve.best ? Json(*curve.best) : Json(nullptr);
  out["flat"] = curve.flat;
  out["at_edge"] = curve.at_edge;
  out["shift_log2"] = number(curve.shift);
  out["points"] = Json::array();
  for (const SweepPoint& point : curve.points) {
    Json one{{"label", values[point.row].label}, {"x", number(point.x)},       {"row", point.row},
             {"loss", to_json(point.loss)},      {"diverged", point.diverged}, {"seeds", Json::array()}};
    for (const TrialResult& trial : result.groups[curve.group].rows[point.row].trials)
      one["seeds"].push_back({{"seed", trial.seed}, {"loss", number(sweep_loss(sweep, trial))}});
    out["points"].push_back(std::move(one));
  }
  return out;
}

Json to_json(const Sweep& sweep, const LabResult& result) {
  const SweepSpec& spec = *result.plan.sweep;
  Json out;
  out["x"] = result.plan.rows.name;
  out["curves"] = spec.curves.empty() ? Json(nullptr) : Json(spec.curves);
  out["scale"] = name_of(sweep.scale);
  out["loss"] = sweep.validation ? "val_loss" : "train_loss";
  out["within_percent"] = spec.within;
  out["panels"] = Json::array();
  for (const SweepPanel& panel : sweep.panels) {
    Json one{{"label", panel.label}, {"curves", Json::array()}};
    for (const SweepCurve& curve : panel.curves) one["curves"].push_back(to_json(curve, sweep, result));
    out["panels"].push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::string to_json(const LabResult& result) {
  const LabPlan& plan = result.plan;
  Json out;
  out["schema"] = "octavo-lab-1";
  out["kind"] = plan.kind;
  out["name"] = plan.name;
  out["description"] = plan.description;
  out["version"] = result.version;
  out["created"] = result.created;
  out["data"] = plan.data;
  out["steps"] = result.steps > 0 ? Json(result.steps) : Json(nullptr);
  out["seeds"] = plan.seeds;
  out["confidence"] = kConfidence;
  out["rows"] = plan.rows.name;
  out["baseline"] = plan.sweep ? Json(nullptr) : Json(plan.baseline);
  out["settings"] = Json::object();
  for (const std::vector<Setting>* list : {&plan.settings, &plan.overrides})
    for (const Setting& s : *list) out["settings"][s.key] = s.value;
  out["groups"] = Json::array();
  for (const GroupResult& group : result.groups) {
    Json one;
    one["label"] = group.point.label;
    one["point"] = Json::object();
    for (const auto& [axis, label] : group.point.values) one["point"][axis] = label;
    one["rows"] = Json::array();
    for (const RowResult& row : group.rows)
      one["rows"].push_back(to_json(row, !plan.sweep && !row.is_baseline));
    if (group.interval) one["interval"] = to_json(*group.interval, plan.interval);
    out["groups"].push_back(std::move(one));
  }
  if (plan.sweep) out["sweep"] = to_json(read_sweep(result), result);
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace octavo
