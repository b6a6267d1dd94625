// SPDX-License-Identifier: Apache-2.0
// What a comparison trains: one run for every combination of groups, rows and seeds.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "octavo/train/run_config.h"

namespace octavo {

/// A key of a run and its value, as --set takes them.
struct Setting {
  std::string key, value;
  std::string source;  ///< what messages call it: "--set", "experiments/a.toml"
};

/// One place on an axis: a label and the keys it sets, "preset" and "recipe" among them.
struct AxisValue {
  std::string label;
  std::vector<Setting> settings;
};
struct Axis {
  std::string name;  ///< "recipe", "model.width", "model"
  std::vector<AxisValue> values;
};

/// Which constants of NAME:VALUE recipes a model tolerates.
struct IntervalSpec {
  std::string family;   ///< "fp8-cscale"; "" for no such question
  double within = 0.5;  ///< per cent of the baseline's loss
};

/// Loss against the rows' axis, one curve for each value of another axis; what is left of the groups' axes
/// makes a plot for each combination.
struct SweepSpec {
  std::string curves;    ///< the last of the groups' axes; "" for one curve a plot
  double within = 0.25;  ///< per cent of a curve's best loss that count as equally good
};

struct LabPlan {
  std::string kind = "compare";  ///< or "experiment", "sweep"
  std::string name, description;
  std::vector<Setting> settings;   ///< of every run
  std::vector<Axis> groups;        ///< each combination is compared within itself
  Axis rows;                       ///< what is compared; has at least one value
  std::vector<Setting> overrides;  ///< of every run, over groups and rows; never the key of an axis
  size_t baseline = 0;             ///< index into rows.values
  std::vector<int64_t> seeds{1, 2, 3};
  std::string data;           ///< as given: a file of text or a data set
  int32_t vocab_size = 4096;  ///< of the tokenizer trained on a file of text
  IntervalSpec interval;
  std::optional<SweepSpec> sweep;
  bool keep_models = true;  ///< final/ of every run
};

/// One combination of the groups' axes.
struct GroupPoint {
  std::string label;                                        ///< "gpt-mini, model.width 320"; "" without axes
  std::vector<std::pair<std::string, std::string>> values;  ///< axis -> label
  std::vector<size_t> at;                                   ///< index into the values of each axis
};

/// One run.
struct Trial {
  size_t group = 0, row = 0, seed_index = 0;
  std::string name;              ///< directory below runs/
  RunConfig config;              ///< out and data.train included
  bool keep_model = true;        ///< final/, after the end
  bool needs_validation = true;  ///< its figure is the validation loss
};

/// In the order of the axes, the last one fastest; one point without axes.
std::vector<GroupPoint> group_points(const LabPlan& plan);
/// The label of a point without its last `skip` axes.
std::string point_label(const GroupPoint& point, size_t skip);

/// Every run of the plan below `directory`/runs, on `data` (token shards or a data set; "": data.train is
/// among the settings). Group by group, then seed by seed, then row by row, so that after the first round
/// every row has one seed. Settings apply in the order preset, plan.settings, groups, rows, plan.overrides,
/// seed; in a sweep other keys follow what an axis sets (followers.h). Throws usage on unknown keys, and when
/// two runs would be the same.
std::vector<Trial> make_trials(const LabPlan& plan, const std::string& directory, const std::string& data);

/// The defaults with these settings over them, in their order. A preset stands under all other values
/// wherever it is named; the last one named counts.
RunConfig configure(const std::vector<Setting>& settings);

/// Why a key of a run cannot be set in a comparison, which sets it itself; empty for all others.
std::string reserved_key(const std::string& key);

/// A name for a file system: letters, digits, '.', '-', '+' stay, the rest becomes '_'; never empty, "." or
/// "..".
std::string file_word(const std::string& text);

}  // namespace octavo
