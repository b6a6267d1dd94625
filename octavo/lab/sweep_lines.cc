// SPDX-License-Identifier: Apache-2.0
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/lab/axis_values.h"
#include "octavo/lab/run_trials.h"
#include "octavo/lab/sweep.h"

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

/// A value as --set takes it: TOML or a bare word.
Json value_of(const Setting& setting) {
  const std::string& text = setting.value;
  if (const auto value = number_in(setting)) {
    const bool whole = text.find_first_not_of("+-0123456789") == std::string::npos;
    return whole ? Json(static_cast<int64_t>(*value)) : Json(*value);
  }
  if (text == "true" || text == "false") return text == "true";
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'') return text.substr(1, text.size() - 2);
  if (text.size() >= 2 && text.front() == '"' && text.back() == '"')
    if (Json parsed = Json::parse(text, nullptr, false); parsed.is_string()) return parsed;
  return text;
}

/// Its number where the axis is a key of numbers, else its name.
Json place(const Axis& axis, const AxisValue& value) {
  const auto number = axis_number(axis, value);
  return number ? value_of(value.settings.front()) : Json(value.label);
}

}  // namespace

SweepLines::SweepLines(const LabPlan& plan, const std::vector<Trial>& trials, std::string path)
    : plan_(plan), trials_(trials), points_(group_points(plan)), path_(std::move(path)) {}

std::string SweepLines::line(const Trial& trial) const {
  const GroupPoint& point = points_[trial.group];
  const AxisValue& row = plan_.rows.values[trial.row];
  const TrialResult result = read_trial(trial);
  const bool has_curves = !plan_.sweep->curves.empty();
  Json out;
  out["x"] = place(plan_.rows, row);
  out["curve"] =
      has_curves ? place(plan_.groups.back(), plan_.groups.back().values[point.at.back()]) : Json(nullptr);
  const std::string panel = point_label(point, has_curves ? 1 : 0);
  out["panel"] = panel.empty() ? Json(nullptr) : Json(panel);
  out["seed"] = result.seed;
  for (size_t a = 0; a < point.at.size(); ++a)
    for (const Setting& s : plan_.groups[a].values[point.at[a]].settings) out[s.key] = value_of(s);
  for (const Setting& s : row.settings) out[s.key] = value_of(s);
  out["loss"] = number(result.train_loss);
  out["val_loss"] = number(result.val_loss);
  out["diverged"] = !result.divergence.empty();
  out["tokens_per_second"] = number(result.tokens_per_second);
  out["run"] = result.run;
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void SweepLines::rebuild() const {
  std::string text;
  for (const Trial& trial : trials_) {
    const TrialState state = trial_state(trial);
    if (state == TrialState::finished || state == TrialState::diverged) text += line(trial);
  }
  write_file_atomic(path_, text);
}

void SweepLines::append(size_t index) const {
  const std::string text = line(trials_[index]);
  std::FILE* file = std::fopen(path_.c_str(), "ab");
  if (!file) fail_errno("cannot open", path_);
  const bool written = std::fwrite(text.data(), 1, text.size(), file) == text.size();
  if ((std::fclose(file) != 0) || !written) fail_errno("cannot write", path_);
}

}  // namespace octavo
