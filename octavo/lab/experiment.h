// SPDX-License-Identifier: Apache-2.0
// Stored experiments: TOML files that say what to train and what to look for (docs/experiments.md).
#pragma once
#include <string>
#include <vector>

#include "octavo/lab/plan.h"

namespace octavo {

/// The experiments built into the program, sorted: the files of experiments/.
std::vector<std::string> experiment_names();
/// Text of one of them; an unknown name is a usage error with the nearest.
std::string experiment_text(const std::string& name);

struct Experiment {
  LabPlan plan;  ///< kind "experiment"; without data
  bool has_quick = false;
};

/// Reads the schema of docs/experiments.md; `quick` applies the table of that name. `source` (a path) starts
/// every message. Unknown keys and keys of a run, wrong types, an axis without values, a baseline that is no
/// row: usage errors that name the line and the nearest known word.
Experiment parse_experiment(const std::string& text, const std::string& source, bool quick);

/// A built-in experiment by name, or a file when `name_or_path` ends in ".toml".
Experiment load_experiment(const std::string& name_or_path, bool quick);

}  // namespace octavo
