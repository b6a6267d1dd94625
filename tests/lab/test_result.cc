// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/result.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "lab/lab_testing.h"
#include "octavo/lab/run_trials.h"
#include "report/report_testing.h"

namespace octavo {
namespace {

/// A comparison whose runs are text: bf16 and "f8" over seeds 1 and 2 at two widths.
class LabResults : public testing::Test {
 protected:
  LabResults() {
    plan.name = "a";
    plan.data = "tokens";
    plan.settings = {{"train.steps", "20", "t"}};
    plan.groups = {
        {"model.width", {{"32", {{"model.width", "32", "t"}}}, {"64", {{"model.width", "64", "t"}}}}}};
    plan.rows = {"recipe", {{"bf16", {{"recipe", "bf16", "t"}}}, {"f8", {{"recipe", "fp8-amax", "t"}}}}};
    plan.seeds = {1, 2};
    trials = make_trials(plan, directory.path(), "");
    for (const Trial& trial : trials)
      write(trial, 4 + 0.5 * static_cast<double>(trial.seed_index) + 0.02 * static_cast<double>(trial.row));
  }
  void write(const Trial& trial, double loss) {
    const std::string path = "runs/" + trial.name;
    std::string metrics, tensors;
    for (int step = 1; step <= 20; ++step) metrics += step_line(step, loss);
    metrics += eval_line(10, 9) + eval_line(20, loss);
    if (trial.row == 1)
      tensors = tensor_line(1, "h.0.mlp.c_fc", "gemm.weight", -3) +
                tensor_line(20, "h.0.mlp.c_fc", "gemm.grad_output", 4);
    make_run(directory, path,
             {{"metrics.jsonl", metrics},
              {"tensors.jsonl", tensors},
              {"env.json",
               R"({"parameters": 500, "memory": {"activations": 1000, "weights": 400, "compute weights": )" +
                   std::string(trial.row == 1 ? "100" : "0") + "}}"}});
  }
  TemporaryDirectory directory;
  LabPlan plan;
  std::vector<Trial> trials;
};

TEST_F(LabResults, FiguresOfRows) {
  const LabResult result = collect(plan, trials);
  ASSERT_EQ(result.groups.size(), 2u);
  EXPECT_EQ(result.steps, 20);
  const GroupResult& group = result.groups[1];
  EXPECT_EQ(group.point.label, "model.width 64");
  const RowResult &base = group.rows[0], &row = group.rows[1];
  EXPECT_TRUE(base.is_baseline);
  EXPECT_TRUE(std::isnan(base.delta.mean));
  EXPECT_DOUBLE_EQ(base.val_loss.mean, 4.25);
  EXPECT_DOUBLE_EQ(row.val_loss.mean, 4.27);
  EXPECT_NEAR(row.delta.mean, 100 * (0.02 / 4 + 0.02 / 4.5) / 2, 1e-9);
  EXPECT_EQ(row.trials[1].run, "runs/64-f8-s2");
  EXPECT_DOUBLE_EQ(row.trials[1].val_loss, 4.52);  // of the last step, not of step 10
  EXPECT_DOUBLE_EQ(row.weight_bytes, 100);
  EXPECT_DOUBLE_EQ(base.weight_bytes, 400);  // FP32 has no copies
  EXPECT_DOUBLE_EQ(row.activation_bytes, 1000);
  EXPECT_DOUBLE_EQ(row.tokens_per_second, 1000);
  EXPECT_TRUE(base.classes.empty());
  ASSERT_EQ(row.classes.size(), 2u);
  EXPECT_EQ(row.classes.at(TensorClass::gradients).formats, std::vector<std::string>{"e5m2"});
  EXPECT_NEAR(row.classes.at(TensorClass::weights).snr_db, 31.5, 1e-6);
  EXPECT_NEAR(row.classes.at(TensorClass::weights).underflow, 0.01, 1e-6);
}

TEST_F(LabResults, TheSchema) {
  const auto json = nlohmann::json::parse(to_json(collect(plan, trials)));
  EXPECT_EQ(json["schema"], "octavo-lab-1");
  EXPECT_EQ(json["seeds"], (std::vector<int>{1, 2}));
  EXPECT_EQ(json["rows"], "recipe");
  EXPECT_EQ(json["confidence"], 0.95);
  EXPECT_EQ(json["settings"]["train.steps"], "20");
  EXPECT_EQ(json["groups"][0]["point"]["model.width"], "32");
  const auto& rows = json["groups"][0]["rows"];
  EXPECT_EQ(rows[0]["delta_percent"], nullptr);
  EXPECT_EQ(rows[0]["baseline"], true);
  EXPECT_EQ(rows[1]["delta_percent"]["seeds"], 2);
  EXPECT_TRUE(rows[1]["delta_percent"]["band"].is_number());
  EXPECT_EQ(rows[1]["trials"][0]["diverged"], nullptr);
  EXPECT_EQ(rows[1]["classes"]["weights"]["formats"][0], "e4m3");
  EXPECT_EQ(rows[1]["memory"]["weights"], 400.0);
}

TEST_F(LabResults, ADivergedSeedIsSaidAndNotCounted) {
  const Trial& trial = trials[3];  // width 32, f8, seed 2
  ASSERT_EQ(trial.name, "32-f8-s2");
  spill(trial.config.out + "/diverged.json", R"({"step": 7, "message": "the loss is nan"})");
  const LabResult result = collect(plan, trials);
  const RowResult& row = result.groups[0].rows[1];
  EXPECT_EQ(row.diverged, 1u);
  EXPECT_EQ(row.val_loss.count, 1u);
  EXPECT_EQ(row.trials[1].divergence, "the loss is nan");
  EXPECT_TRUE(std::isnan(row.delta.band));
  const auto json = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(json["groups"][0]["rows"][1]["trials"][1]["val_loss"], nullptr);
  EXPECT_NE(to_text(result).find("1 of 2 diverged"), std::string::npos) << to_text(result);
}

TEST_F(LabResults, ARunWithoutItsLastEvaluationIsAnError) {
  spill(trials[0].config.out + "/metrics.jsonl", step_line(20, 4) + eval_line(10, 4));
  expect_error([&] { collect(plan, trials); }, ExitCode::bad_data, {trials[0].name, "step 20"});
}

TEST_F(LabResults, OnePageAGroup) {
  const auto pages = make_pages(collect(plan, trials), directory.path());
  ASSERT_EQ(pages.size(), 2u);
  EXPECT_NE(pages.at("report.html").find("\"shown_group\":0"), std::string::npos);
  EXPECT_NE(pages.at("report-model.width_64.html").find("\"shown_group\":1"), std::string::npos);
  EXPECT_NE(pages.at("report.html").find("runs/32-f8-s1"), std::string::npos);
  EXPECT_EQ(pages.at("report.html").find("32-f8-s2\",\"path"), std::string::npos);
}

RowResult row_at(const std::string& label, double delta, double band = 0.1, size_t diverged = 0) {
  RowResult row;
  row.label = label;
  row.delta = {delta, band, 3};
  row.val_loss = {4, 0.1, 3};
  row.diverged = diverged;
  return row;
}

TEST(LabInterval, IsTheStretchAroundTheBest) {
  const IntervalSpec spec{"c", 0.5};
  // Written in another order than they count.
  const std::vector<RowResult> rows{row_at("bf16", 0),    row_at("c:2", 0.3),  row_at("c:-1", 0.5),
                                    row_at("c:-2", 0.51), row_at("c:0", -0.1), row_at("c:1", 0.2),
                                    row_at("c:3", 9),     row_at("c:-3", 0.4), row_at("cc:4", 0.01),
                                    row_at("c:x", -5.0),  row_at("c:", -5.0)};
  const Interval i = find_interval(rows, spec);
  ASSERT_EQ(i.points.size(), 7u);
  EXPECT_EQ(i.points.front().constant, -3);
  EXPECT_EQ(rows[i.points.back().row].label, "c:3");
  EXPECT_EQ(*i.low, -1);  // -3 is within too, but -2 lies between
  EXPECT_EQ(*i.high, 2);
  EXPECT_FALSE(i.open_low);
  EXPECT_FALSE(i.open_high);
  EXPECT_DOUBLE_EQ(i.band, 0.1);
}

TEST(LabInterval, EndsOfTheSweepAndDivergedRows) {
  const IntervalSpec spec{"c", 0.5};
  const Interval open =
      find_interval({row_at("c:0", 0.1), row_at("c:1", 0.2), row_at("c:2", 0.1, 0.1, 1)}, spec);
  EXPECT_EQ(*open.low, 0);
  EXPECT_TRUE(open.open_low);
  EXPECT_EQ(*open.high, 1);
  EXPECT_FALSE(open.open_high);
  const Interval none = find_interval({row_at("c:0", 3), row_at("c:1", NAN)}, spec);
  EXPECT_FALSE(none.low || none.high);
  EXPECT_EQ(none.points.size(), 2u);
  EXPECT_TRUE(find_interval({row_at("bf16", 0)}, spec).points.empty());
}

TEST(LabText, SaysWhatTheNoiseIs) {
  LabResult result;
  result.plan.rows = {"recipe", {{"bf16", {}}, {"c:0", {}}}};
  result.plan.interval = {"c", 0.5};
  result.plan.seeds = {1, 2, 3};
  GroupResult group;
  group.rows = {row_at("bf16", NAN, NAN), row_at("c:0", 0.3, 0.9)};
  group.rows[0].is_baseline = true;
  group.interval = find_interval(group.rows, result.plan.interval);
  result.groups = {group};
  std::string text = to_text(result);
  EXPECT_NE(text.find("+0.30 ± 0.90"), std::string::npos) << text;
  EXPECT_EQ(text.find("0.90 *"), std::string::npos) << text;
  EXPECT_NE(text.find("more seeds or steps"), std::string::npos) << text;
  result.groups[0].rows[1].delta = {0.3, 0.1, 3};
  EXPECT_NE(to_text(result).find("+0.30 ± 0.10 *"), std::string::npos);
  result.plan.seeds = {1};
  EXPECT_NE(to_text(result).find("One seed"), std::string::npos);
}

}  // namespace
}  // namespace octavo
