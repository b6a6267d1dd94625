// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/io/checkpoint_dir.h"
#include "octavo/io/json_file.h"
#include "octavo/lab/run_trials.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

std::string one_spelling(const std::string& path) {
  std::error_code ignored;
  return fs::weakly_canonical(path, ignored).string();
}

/// What has no bearing on the numbers is made equal.
RunConfig comparable(RunConfig config) {
  config.out.clear();
  config.threads = 0;
  for (std::string& path : config.data.train) path = one_spelling(path);
  for (std::string& path : config.data.val) path = one_spelling(path);
  if (!config.init.empty()) config.init = one_spelling(config.init);
  return config;
}

void require_same(const Trial& trial, const std::string& path) {
  RunConfig stored;
  apply_toml(stored, read_file(path), path);
  RunConfig wanted = comparable(trial.config);
  stored = comparable(stored);
  // A run writes down what 0 stood for.
  if (wanted.data.sequence_length == 0) wanted.data.sequence_length = stored.data.sequence_length;
  const std::vector<ConfigKey> has = config_keys(stored), wants = config_keys(wanted);
  for (size_t i = 0; i < has.size(); ++i)
    if (has[i].value != wants[i].value)
      fail_usage(fmt::format(
          "'{}' holds a run with {} = {}, this one has {}; give another --out, or remove that run",
          trial.config.out, has[i].key, has[i].value, wants[i].value));
}

}  // namespace

TrialState trial_state(const Trial& trial) {
  const std::string& run = trial.config.out;
  if (!fs::exists(run + "/config.toml")) return TrialState::absent;
  require_same(trial, run + "/config.toml");
  const std::string kept = run + "/recipe.toml";
  if (!(parse_recipe(read_file(kept), kept) == load_recipe(trial.config.recipe, trial.config.recipe_set)))
    fail_usage(
        fmt::format("recipe '{}' is not what it was when '{}' began ('{}'); give another --out, or remove "
                    "that run",
                    trial.config.recipe, run, kept));
  if (fs::exists(run + "/diverged.json")) return TrialState::diverged;
  if (fs::exists(run + "/" + kFinishedMark)) return TrialState::finished;
  if (!fs::exists(run + "/final/MANIFEST.json")) return TrialState::begun;
  verify_directory(run + "/final", false);
  return TrialState::finished;
}

Divergence read_divergence(const std::string& run) {
  const JsonObject mark = JsonObject::read(run + "/diverged.json");
  return {mark.get_int("step"), mark.get_string("message")};
}

}  // namespace octavo
