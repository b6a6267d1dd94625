// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "octavo/base/error.h"
#include "octavo/lab/followers.h"

namespace octavo {
namespace {

/// Calls visit(indices into the values of each axis), the last axis fastest.
template <class Visit>
void each_combination(const std::vector<Axis>& axes, Visit visit) {
  std::vector<size_t> at(axes.size(), 0);
  while (true) {
    visit(at);
    size_t axis = axes.size();
    while (axis > 0 && ++at[axis - 1] == axes[axis - 1].values.size()) at[--axis] = 0;
    if (axis == 0) return;
  }
}

void append(std::vector<Setting>& to, const std::vector<Setting>& more) {
  to.insert(to.end(), more.begin(), more.end());
}

}  // namespace

std::string reserved_key(const std::string& key) {
  if (key == "out") return "out is set by the comparison: runs lie below its own --out";
  if (key == "data.train") return "data.train is set by the comparison, from --data";
  if (key == "seed")
    return "seed is an axis of the comparison: give seeds there (--seeds, or seed in [matrix])";
  return "";
}

RunConfig configure(const std::vector<Setting>& settings) {
  RunConfig config;
  for (const Setting& s : settings)
    if (s.key == "preset" && !s.value.empty()) config = load_preset(s.value);
  for (const Setting& s : settings)
    if (s.key != "preset") apply_setting(config, s.key + "=" + s.value, s.source);
  return config;
}

std::string file_word(const std::string& text) {
  std::string word;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '.' || c == '-' || c == '+';
    word += plain ? c : '_';
  }
  if (word.empty() || word == "." || word == "..") word += "_";
  return word;
}

std::string point_label(const GroupPoint& point, size_t skip) {
  std::string text;
  for (size_t a = 0; a + skip < point.values.size(); ++a) {
    const auto& [axis, label] = point.values[a];
    // "gpt-mini" says what it is, "320" does not.
    const bool bare = label.find_first_not_of("0123456789.eE+-^") == std::string::npos;
    text += (text.empty() ? "" : ", ") + (bare ? axis + " " + label : label);
  }
  return text;
}

std::vector<GroupPoint> group_points(const LabPlan& plan) {
  std::vector<GroupPoint> points;
  each_combination(plan.groups, [&](const std::vector<size_t>& at) {
    GroupPoint point;
    point.at = at;
    for (size_t a = 0; a < at.size(); ++a) {
      const Axis& axis = plan.groups[a];
      const std::string& label = axis.values[at[a]].label;
      point.values.emplace_back(axis.name, label);
    }
    point.label = point_label(point, 0);
    points.push_back(std::move(point));
  });
  return points;
}

std::vector<Trial> make_trials(const LabPlan& plan, const std::string& directory, const std::string& data) {
  for (const Setting& s : plan.overrides) {
    const auto is_it = [&](const Axis& axis) { return axis.name == s.key; };
    if (is_it(plan.rows) || std::any_of(plan.groups.begin(), plan.groups.end(), is_it))
      fail_usage(fmt::format("{}: '{}' is an axis of the comparison and cannot be set for every run",
                             s.source, s.key));
  }
  std::vector<Trial> trials;
  std::map<std::string, std::string> names;
  size_t group = 0;
  each_combination(plan.groups, [&](const std::vector<size_t>& at) {
    std::vector<Setting> of_group = plan.settings;
    std::string prefix;
    std::vector<const AxisValue*> chosen;
    for (size_t a = 0; a < at.size(); ++a) {
      chosen.push_back(&plan.groups[a].values[at[a]]);
      append(of_group, chosen.back()->settings);
      prefix += file_word(plan.groups[a].values[at[a]].label) + "-";
    }
    chosen.push_back(nullptr);
    for (size_t s = 0; s < plan.seeds.size(); ++s)
      for (size_t r = 0; r < plan.rows.values.size(); ++r) {
        const AxisValue& row = plan.rows.values[r];
        std::vector<Setting> settings = of_group;
        append(settings, row.settings);
        append(settings, plan.overrides);
        Trial trial{group, r, s, fmt::format("{}{}-s{}", prefix, file_word(row.label), plan.seeds[s]),
                    configure(settings)};
        trial.keep_model = plan.keep_models;
        trial.needs_validation = !plan.sweep;
        chosen.back() = &row;
        if (plan.sweep) follow_axes(trial.config, plan, chosen);
        trial.config.seed = plan.seeds[s];
        trial.config.out = directory + "/runs/" + trial.name;
        if (!data.empty()) trial.config.data.train = {data};
        validate(trial.config);
        const std::string what = fmt::format("{} of group {}, seed {}", row.label, group + 1, plan.seeds[s]);
        const auto [known, fresh] = names.emplace(trial.name, what);
        if (!fresh)
          fail_usage(
              fmt::format("{} and {} would share the directory runs/{}; give each once, under its own name",
                          known->second, what, trial.name));
        trials.push_back(std::move(trial));
      }
    ++group;
  });
  return trials;
}

}  // namespace octavo
