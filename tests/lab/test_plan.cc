// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/plan.h"

#include <set>

#include "lab/lab_testing.h"

namespace octavo {
namespace {

LabPlan small_plan() {
  LabPlan plan;
  plan.settings = {{"preset", "gpt-mini", "--preset"}, {"train.steps", "7", "test"}};
  plan.rows = {"recipe",
               {{"bf16", {{"recipe", "bf16", "test"}}}, {"fp8-amax", {{"recipe", "fp8-amax", "test"}}}}};
  plan.groups = {
      {"model.width", {{"48", {{"model.width", "48", "t"}}}, {"96", {{"model.width", "96", "t"}}}}},
      {"model", {{"a b", {{"model.layers", "1", "t"}}}}}};
  plan.seeds = {3, 5};
  return plan;
}

TEST(LabPlan, OneRunForEveryCombination) {
  const std::vector<Trial> trials = make_trials(small_plan(), "lab", "tokens");
  ASSERT_EQ(trials.size(), 8u);
  std::set<std::string> names;
  for (const Trial& trial : trials) {
    names.insert(trial.name);
    EXPECT_EQ(trial.config.out, "lab/runs/" + trial.name);
    EXPECT_EQ(trial.config.data.train, std::vector<std::string>{"tokens"});
    EXPECT_EQ(trial.config.train.steps, 7);
    EXPECT_EQ(trial.config.preset, "gpt-mini");
    EXPECT_EQ(trial.config.model.heads, 6);  // of the preset
    EXPECT_EQ(trial.config.model.layers, 1);
    EXPECT_EQ(trial.config.model.width, trial.group == 0 ? 48 : 96);
    EXPECT_EQ(trial.config.recipe, trial.row == 0 ? "bf16" : "fp8-amax");
    EXPECT_EQ(trial.config.seed, trial.seed_index == 0 ? 3 : 5);
  }
  EXPECT_EQ(names.size(), 8u);
  // Every row has its first seed before any has its second.
  EXPECT_EQ(trials[0].name, "48-a_b-bf16-s3");
  EXPECT_EQ(trials[1].name, "48-a_b-fp8-amax-s3");
  EXPECT_EQ(trials[2].name, "48-a_b-bf16-s5");
  EXPECT_EQ(trials[4].group, 1u);
}

TEST(LabPlan, LaterSettingsWin) {
  LabPlan plan = small_plan();
  plan.groups[1].values[0].settings.push_back({"train.steps", "9", "t"});
  EXPECT_EQ(make_trials(plan, "d", "")[0].config.train.steps, 9);
  plan.overrides.push_back({"train.steps", "11", "--steps"});
  EXPECT_EQ(make_trials(plan, "d", "")[0].config.train.steps, 11);
  // A preset stands below all values, wherever it is named.
  plan.groups[1].values[0].settings.push_back({"preset", "llama-mini", "t"});
  const RunConfig config = make_trials(plan, "d", "")[0].config;
  EXPECT_EQ(config.model.family, "llama");
  EXPECT_EQ(config.train.steps, 11);
  EXPECT_EQ(config.model.layers, 1);
}

TEST(LabPlan, GroupsAreNamedForPeople) {
  const std::vector<GroupPoint> points = group_points(small_plan());
  ASSERT_EQ(points.size(), 2u);
  EXPECT_EQ(points[0].label, "model.width 48, a b");
  EXPECT_EQ(points[1].values[0], (std::pair<std::string, std::string>{"model.width", "96"}));
  LabPlan plain = small_plan();
  plain.groups.clear();
  ASSERT_EQ(group_points(plain).size(), 1u);
  EXPECT_EQ(group_points(plain)[0].label, "");
}

TEST(LabPlan, Mistakes) {
  const auto expect = [](const std::function<void(LabPlan&)>& spoil, const std::vector<std::string>& words) {
    LabPlan plan = small_plan();
    spoil(plan);
    expect_error([&] { make_trials(plan, "d", ""); }, ExitCode::usage, words);
  };
  expect([](LabPlan& p) { p.rows.values.push_back(p.rows.values[0]); }, {"bf16", "runs/48-a_b-bf16-s3"});
  expect([](LabPlan& p) { p.seeds = {1, 1}; }, {"share"});
  // Two names that become one in a file system.
  expect([](LabPlan& p) { p.rows.values = {{"a:1", {}}, {"a/1", {}}}; }, {"a_1"});
  expect(
      [](LabPlan& p) {
        p.settings.push_back({"train.stepz", "1", "--set"});
      },
      {"--set", "train.stepz", "train.steps"});
  expect(
      [](LabPlan& p) {
        p.overrides.push_back({"recipe", "fp32", "--set"});
      },
      {"--set", "'recipe'", "axis"});
  expect([](LabPlan& p) { p.overrides.push_back({"train.steps", "0", "--steps"}); }, {"train.steps"});
  expect([](LabPlan& p) { p.settings[0].value = "gpt-mni"; }, {"gpt-mini"});
}

TEST(LabPlan, ReservedKeysSayWhy) {
  EXPECT_NE(reserved_key("out").find("--out"), std::string::npos);
  EXPECT_NE(reserved_key("data.train").find("--data"), std::string::npos);
  EXPECT_NE(reserved_key("seed").find("--seeds"), std::string::npos);
  EXPECT_EQ(reserved_key("optim.lr"), "");
}

TEST(LabPlan, FileWords) {
  EXPECT_EQ(file_word("fp8-cscale:-8"), "fp8-cscale_-8");
  EXPECT_EQ(file_word("../x"), ".._x");
  EXPECT_EQ(file_word(".."), ".._");
  EXPECT_EQ(file_word(""), "_");
}

}  // namespace
}  // namespace octavo
