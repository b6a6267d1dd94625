// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/experiment.h"

#include <algorithm>

#include "lab/lab_testing.h"

namespace octavo {
namespace {

const char* const kText = R"(description = "what for"
baseline = "bf16"
[data]
vocab_size = 512
[run]
preset = "gpt-mini"
train.steps = 100
optim = {lr = 1e-3, min_lr = 1e-4}
[matrix]
zeta = [{name = "narrow", model.width = 48}, {name = "wide", "model.width" = 96, "optim.lr" = 5e-4}]
"model.layers" = [1, 2]
recipe = ["fp8-amax", "bf16"]
seed = [1, 2, 3]
[interval]
family = "fp8-cscale"
within = 0.25
[quick]
run = {train.steps = 5}
matrix = {"model.layers" = [1], seed = [9]}
)";

TEST(Experiment, IsReadInTheOrderItIsWritten) {
  const Experiment e = parse_experiment(kText, "some/widths.toml", false);
  const LabPlan& plan = e.plan;
  EXPECT_EQ(plan.name, "widths");
  EXPECT_EQ(plan.kind, "experiment");
  EXPECT_EQ(plan.description, "what for");
  EXPECT_EQ(plan.vocab_size, 512);
  EXPECT_EQ(plan.rows.name, "recipe");
  EXPECT_EQ(plan.baseline, 1u);
  EXPECT_EQ(plan.interval.family, "fp8-cscale");
  EXPECT_EQ(plan.interval.within, 0.25);
  EXPECT_TRUE(e.has_quick);
  ASSERT_EQ(plan.groups.size(), 2u);
  EXPECT_EQ(plan.groups[0].name, "zeta");
  EXPECT_EQ(plan.groups[1].name, "model.layers");
  const std::vector<Trial> trials = make_trials(plan, "d", "tokens");
  EXPECT_EQ(trials.size(), 2u * 2 * 2 * 3);
  EXPECT_EQ(trials[0].name, "narrow-1-fp8-amax-s1");
  EXPECT_EQ(trials[0].config.optim.lr, 1e-3);
  EXPECT_EQ(trials.back().config.optim.lr, 5e-4);
  EXPECT_EQ(trials.back().config.model.width, 96);
  EXPECT_EQ(trials.back().config.train.steps, 100);
}

TEST(Experiment, QuickReplacesAxesAndOverridesKeys) {
  const LabPlan plan = parse_experiment(kText, "widths.toml", true).plan;
  const std::vector<Trial> trials = make_trials(plan, "d", "tokens");
  ASSERT_EQ(trials.size(), 2u * 1 * 2 * 1);
  EXPECT_EQ(trials[0].config.train.steps, 5);
  EXPECT_EQ(trials[0].config.seed, 9);
  EXPECT_EQ(trials[0].config.optim.lr, 1e-3);
  expect_error([] { parse_experiment("[matrix]\nrecipe = ['bf16']\n", "a.toml", true); }, ExitCode::usage,
               {"a.toml", "--quick", "[quick]"});
}

TEST(Experiment, AnyAxisCanBeCompared) {
  const LabPlan plan =
      parse_experiment(
          "compare = \"optim.lr\"\nbaseline = 1e-3\n[matrix]\nrecipe = [\"bf16\", \"fp32\"]\n"
          "\"optim.lr\" = [2e-3, 1e-3]\n",
          "a.toml", false)
          .plan;
  EXPECT_EQ(plan.rows.name, "optim.lr");
  EXPECT_EQ(plan.baseline, 1u);
  EXPECT_EQ(plan.seeds.size(), 3u);
  ASSERT_EQ(plan.groups.size(), 1u);
  EXPECT_EQ(plan.groups[0].name, "recipe");
}

TEST(Experiment, MistakesNameTheLine) {
  const auto expect = [](const std::string& from, const std::string& to,
                         const std::vector<std::string>& words) {
    std::string text = kText;
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    std::vector<std::string> all{"bad.toml"};
    all.insert(all.end(), words.begin(), words.end());
    expect_error([&] { parse_experiment(text, "bad.toml", false); }, ExitCode::usage, all);
  };
  expect("description", "descriptoin", {":1", "descriptoin", "description"});
  expect("baseline = \"bf16\"", "baseline = \"bf61\"", {":2", "bf61", "bf16"});
  expect("vocab_size = 512", "vocab_size = 5", {":4", "256"});
  expect("vocab_size", "vocabsize", {":4", "vocabsize"});
  expect("train.steps = 100", "train.step = 100", {":7", "train.step", "train.steps"});
  expect("min_lr = 1e-4", "seed = 3", {":8", "optim.seed"});
  expect("preset = \"gpt-mini\"", "seed = 3", {":6", "seed", "axis"});
  expect("preset = \"gpt-mini\"", "out = \"x\"", {":6", "--out"});
  expect("preset = \"gpt-mini\"", "preset = 3", {":6", "preset", "text"});
  expect("\"model.layers\" = [1, 2]", "\"model.layers\" = []", {":11", "model.layers"});
  expect("\"model.layers\" = [1, 2]", "model.layers = [1, 2]", {":11", "quotes"});
  expect("\"model.layers\" = [1, 2]", "\"model.layres\" = [1, 2]", {":11", "model.layers"});
  expect("name = \"narrow\", ", "", {":10", "zeta", "name"});
  expect("seed = [1, 2, 3]", "seed = [1, -2]", {":13", "seed"});
  expect("recipe = [\"fp8-amax\", \"bf16\"]", "\"optim.beta1\" = [0.9]", {"no axis 'recipe'"});
  expect("within = 0.25", "within = 0", {":16", "within"});
  expect("family = \"fp8-cscale\"", "", {"family"});
  // Also in a table that is not used this time.
  expect("{train.steps = 5}", "{train.stepz = 5}", {":18", "train.stepz"});
  expect("[quick]", "[quick", {"TOML"});
}

// What ships must be readable, and name runs that exist.
TEST(Experiment, ThoseBuiltInAreComplete) {
  const std::vector<std::string> names = experiment_names();
  for (const char* wanted :
       {"cscale-interval", "fp8-amax-widths", "munit-ablation", "munit-activations", "munit-decay",
        "munit-depth", "munit-fp8", "munit-residual", "munit-transfer", "sp-transfer"})
    EXPECT_NE(std::find(names.begin(), names.end(), wanted), names.end()) << wanted;
  for (const std::string& name : names)
    for (const bool quick : {false, true}) {
      const LabPlan plan = load_experiment(name, quick).plan;
      EXPECT_FALSE(plan.description.empty()) << name;
      const std::vector<Trial> trials = make_trials(plan, "d", "tokens");
      for (const Trial& trial : trials) {
        EXPECT_NO_THROW(model_config(trial.config, 4096)) << trial.name;
        EXPECT_EQ(trial.config.eval.batches, 0) << trial.name;
      }
    }
  for (const char* name : {"cscale-interval", "fp8-amax-widths", "munit-fp8", "munit-residual"})
    EXPECT_EQ(load_experiment(name, false).plan.seeds.size(), 3u) << name;
  for (const char* name : {"cscale-interval", "fp8-amax-widths"}) {
    const LabPlan plan = load_experiment(name, false).plan;
    EXPECT_EQ(plan.rows.values[plan.baseline].label, "bf16") << name;
  }
  // Written as people write it, whatever the file's parser makes of it.
  const LabPlan depth = load_experiment("munit-depth", false).plan;
  EXPECT_EQ(make_trials(depth, "d", "t").size(), 5u * 6);
  EXPECT_EQ(depth.rows.values[1].label, "0.1");
  EXPECT_EQ(make_trials(load_experiment("fp8-amax-widths", false).plan, "d", "t").size(), 4u * 2 * 3);
  EXPECT_EQ(make_trials(load_experiment("cscale-interval", false).plan, "d", "t").size(), 2u * 19 * 3);
  EXPECT_LT(make_trials(load_experiment("cscale-interval", true).plan, "d", "t")[0].config.train.steps, 100);
  expect_error([] { load_experiment("fp8-amax-width", false); }, ExitCode::usage, {"fp8-amax-widths"});
  expect_error([] { load_experiment("nowhere.toml", false); }, ExitCode::bad_data, {"nowhere.toml"});
}

}  // namespace
}  // namespace octavo
