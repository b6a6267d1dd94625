// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/sweep.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "lab/lab_testing.h"
#include "octavo/lab/experiment.h"
#include "octavo/lab/run_trials.h"
#include "report/report_testing.h"

namespace octavo {
namespace {

using Json = nlohmann::json;

std::vector<Json> lines_of(const std::string& path) {
  std::vector<Json> out;
  std::istringstream text(slurp(path));
  for (std::string line; std::getline(text, line);) out.push_back(Json::parse(line));
  return out;
}

/// Loss over the learning rate at two widths under two recipes; runs are text, two seeds each. The best is
/// 2^-7 at width 32 and 2^-8 at width 64.
class LabSweep : public testing::Test {
 protected:
  LabSweep() {
    plan.name = "s";
    plan.settings = {{"train.steps", "20", "t"}, {"optim.lr", "1e-3", "t"}, {"optim.min_lr", "2.5e-4", "t"}};
    plan.seeds = {1, 2};
  }
  void make(const std::string& x = "optim.lr=2^-9..2^-6") {
    set_sweep(plan, x, "model.width=32,64;model.heads=2,4", {"recipe=bf16,fp8-amax"});
    trials = make_trials(plan, directory.path(), "");
    for (const Trial& trial : trials) write(trial);
  }
  static double loss(const Trial& trial) {
    const double from_best = std::log2(trial.config.optim.lr) + (trial.config.model.width == 32 ? 7 : 8);
    return 4 + 0.1 * from_best * from_best + 0.001 * static_cast<double>(trial.config.seed);
  }
  void write(const Trial& trial, bool validation = true) {
    std::string metrics;
    for (int step = 1; step <= 20; ++step) metrics += step_line(step, loss(trial) + 1);
    if (validation) metrics += eval_line(20, loss(trial));
    make_run(directory, "runs/" + trial.name,
             {{"metrics.jsonl", metrics},
              {"config.toml", to_toml(trial.config)},
              {"recipe.toml", slurp(OCTAVO_SOURCE_DIR "/recipes/" + trial.config.recipe + ".toml")}});
    spill(trial.config.out + "/" + kFinishedMark, "{}");
  }
  Trial& find(const std::string& name) {
    for (Trial& trial : trials)
      if (trial.name == name) return trial;
    throw std::runtime_error("no run " + name);
  }
  void diverge(const std::string& name) {
    spill(find(name).config.out + "/diverged.json", R"({"step": 7, "message": "the loss is nan"})");
  }
  TemporaryDirectory directory;
  LabPlan plan;
  std::vector<Trial> trials;
};

TEST_F(LabSweep, EveryRunOfTheGrid) {
  make();
  ASSERT_EQ(trials.size(), 2u * 2 * 4 * 2);
  EXPECT_EQ(trials[0].name, "bf16-32-2_-9-s1");
  EXPECT_EQ(trials.back().name, "fp8-amax-64-2_-6-s2");
  const RunConfig& config = trials.back().config;
  EXPECT_EQ(config.optim.lr, 0x1p-6);
  EXPECT_EQ(config.model.width, 64);
  EXPECT_EQ(config.model.heads, 4);
  EXPECT_EQ(config.recipe, "fp8-amax");
  EXPECT_FALSE(trials[0].keep_model);
  EXPECT_FALSE(trials[0].needs_validation);
}

// The schedule ends at the same share of its peak everywhere: 2.5e-4 of 1e-3 would lie above 2^-12.
TEST_F(LabSweep, TheLastLearningRateGoesAlong) {
  plan.seeds = {1};
  set_sweep(plan, "optim.lr=2^-14,2^-6", "", {});
  for (const Trial& trial : make_trials(plan, "d", ""))
    EXPECT_DOUBLE_EQ(trial.config.optim.min_lr, trial.config.optim.lr / 4);
  // From --set as well, in place of what the settings below it say.
  plan.overrides = {{"optim.min_lr", "1e-4", "--set"}};
  EXPECT_DOUBLE_EQ(make_trials(plan, "d", "")[1].config.optim.min_lr, 0x1p-6 / 10);

  const auto min_lr = [](const std::string& x, const std::string& curves) {
    LabPlan p;
    p.settings = {{"optim.lr", "1e-3", "t"}, {"optim.min_lr", "2.5e-4", "t"}};
    set_sweep(p, x, curves, {});
    return make_trials(p, "d", "").back().config.optim.min_lr;
  };
  EXPECT_EQ(min_lr("optim.lr=2^-6", "optim.min_lr=1e-5"), 1e-5);  // an axis of its own
  EXPECT_EQ(min_lr("optim.lr=2^-6;optim.min_lr=2^-7", ""), 0x1p-7);
  EXPECT_EQ(min_lr("optim.clip=1", ""), 2.5e-4);
  EXPECT_EQ(min_lr("optim.clip=1", "optim.lr=4e-3"), 1e-3);
  // A value of another axis may bring a peak and an end of its own: the share is theirs.
  LabPlan p;
  set_sweep(p, "optim.lr=2^-6", "", {});
  p.groups = {{"model", {{"a", {{"optim.lr", "1e-3", "t"}, {"optim.min_lr", "5e-4", "t"}}}}}};
  EXPECT_EQ(make_trials(p, "d", "")[0].config.optim.min_lr, 0x1p-7);
  // A comparison leaves it alone.
  p.sweep.reset();
  EXPECT_EQ(make_trials(p, "d", "")[0].config.optim.min_lr, 5e-4);
}

TEST_F(LabSweep, HeadsKeepTheirWidth) {
  const auto models = [](const std::vector<Setting>& settings, const std::string& curves,
                         const std::vector<Setting>& overrides = {}) {
    LabPlan p;
    p.settings = settings;
    p.overrides = overrides;
    p.seeds = {1};
    set_sweep(p, "optim.lr=1e-3", curves, {});
    std::string out;
    for (const Trial& trial : make_trials(p, "d", "")) {
      const RunConfig::Model& m = trial.config.model;
      out += fmt::format("{}/{}/{}/{} ", m.width, m.heads, m.kv_heads, m.ffn);
    }
    return out;
  };
  const std::vector<Setting> gpt{{"preset", "gpt-mini", "t"}}, llama{{"preset", "llama-mini", "t"}};
  EXPECT_EQ(models(gpt, "model.width=32,64,128"), "32/1/0/0 64/2/0/0 128/4/0/0 ");  // 6 heads at 192
  EXPECT_EQ(models(gpt, "model.width=32,64", {{"model.head_dim", "16", "--set"}}), "32/2/0/0 64/4/0/0 ");
  EXPECT_EQ(models(gpt, "model.width=32,64", {{"model.heads", "4", "--set"}}), "32/4/0/0 64/4/0/0 ");
  EXPECT_EQ(models(gpt, "model.width=32,64;model.heads=8,2"), "32/8/0/0 64/2/0/0 ");
  EXPECT_EQ(models(llama, "model.width=96,384"), "96/3/1/256 384/12/4/1024 ");  // 192/6/2/512
  EXPECT_EQ(models(llama, "model.width=96", {{"model.ffn", "64", "--set"}, {"model.kv_heads", "3", "--set"}}),
            "96/3/3/64 ");
  expect_error([&] { models(gpt, "model.width=48"); }, ExitCode::usage, {"48", "width 32", "model.heads"});
  expect_error([&] { models(llama, "model.width=128"); }, ExitCode::usage, {"128", "key/value"});
}

TEST_F(LabSweep, Mistakes) {
  const auto expect = [](const std::string& x, const std::string& curves,
                         const std::vector<std::string>& panels, const std::vector<std::string>& words) {
    LabPlan p;
    p.overrides = {{"model.heads", "4", "--set"}};
    expect_error([&] { set_sweep(p, x, curves, panels); }, ExitCode::usage, words);
  };
  expect("optim.lr=1", "optim.lr=2", {}, {"optim.lr", "twice"});
  expect("optim.lr=1", "", {"recipe=bf16", "recipe=fp32"}, {"recipe", "twice"});
  expect("optim.lr=1", "model.width=32;model.heads=2", {}, {"--set", "model.heads"});
  expect("optim.lr=1", "model.wdth=32", {}, {"--curves", "model.width"});
  expect("optim.lr=1", "", {"seed=1"}, {"--panels", "--seeds"});
}

TEST_F(LabSweep, BestFlatAndShift) {
  make();
  const LabResult result = collect(plan, trials);
  const Sweep sweep = read_sweep(result);
  EXPECT_TRUE(sweep.validation);
  EXPECT_EQ(sweep.scale, XScale::log2);
  ASSERT_EQ(sweep.panels.size(), 2u);
  EXPECT_EQ(sweep.panels[0].label, "bf16");
  ASSERT_EQ(sweep.panels[1].curves.size(), 2u);
  const SweepCurve &narrow = sweep.panels[1].curves[0], &wide = sweep.panels[1].curves[1];
  EXPECT_EQ(narrow.label, "32");
  EXPECT_EQ(wide.group, 3u);
  ASSERT_TRUE(narrow.best && wide.best);
  EXPECT_EQ(narrow.points[*narrow.best].x, 0x1p-7);
  EXPECT_EQ(wide.points[*wide.best].x, 0x1p-8);
  EXPECT_NEAR(wide.points[*wide.best].loss.mean, 4.0015, 1e-9);
  EXPECT_EQ(wide.points[*wide.best].loss.count, 2u);
  EXPECT_EQ(narrow.shift, 0);
  EXPECT_EQ(wide.shift, -1);
  EXPECT_EQ(narrow.flat, std::vector<size_t>{2});
  EXPECT_FALSE(narrow.at_edge);
  plan.sweep->within = 3;  // 4.1 beside 4.0
  EXPECT_EQ(read_sweep(collect(plan, trials)).panels[0].curves[0].flat, (std::vector<size_t>{1, 2, 3}));
  const std::string text = to_text(result);
  for (const char* words : {"best optim.lr", "bf16:", "2^-8", "-1", "within 0.25 %", "2 seeds"})
    EXPECT_NE(text.find(words), std::string::npos) << words << "\n" << text;
}

TEST_F(LabSweep, ADivergedSeedIsNoPlaceToTrainAt) {
  make();
  diverge("bf16-32-2_-7-s2");
  for (const char* seed : {"1", "2"})
    for (const char* lr : {"9", "8", "7", "6"}) diverge(std::string("bf16-64-2_-") + lr + "-s" + seed);
  const LabResult result = collect(plan, trials);
  const Sweep sweep = read_sweep(result);
  const SweepCurve& curve = sweep.panels[0].curves[0];
  EXPECT_TRUE(sweep.validation);
  EXPECT_EQ(curve.points[2].diverged, 1u);
  EXPECT_NEAR(curve.points[2].loss.mean, 4.001, 1e-9);
  EXPECT_EQ(*curve.best, 1u);  // 2^-8 and 2^-6 are equal
  EXPECT_EQ(curve.flat, std::vector<size_t>{1});
  EXPECT_FALSE(sweep.panels[0].curves[1].best);
  EXPECT_TRUE(std::isnan(sweep.panels[0].curves[1].shift));
  const std::string text = to_text(result);
  EXPECT_NE(text.find("1 of 8"), std::string::npos) << text;
  EXPECT_NE(text.find("8 of 8"), std::string::npos) << text;
  const Json json = Json::parse(to_json(result));
  EXPECT_EQ(json["sweep"]["panels"][0]["curves"][0]["points"][2]["seeds"][1]["loss"], nullptr);
  EXPECT_EQ(json["sweep"]["panels"][0]["curves"][1]["best"], nullptr);
}

TEST_F(LabSweep, ScalesOfX) {
  const auto scale = [&](const std::string& x) {
    LabPlan p;
    p.settings = {{"train.steps", "20", "t"}};
    p.seeds = {1};
    set_sweep(p, x, "", {});
    const TemporaryDirectory place;
    const std::vector<Trial> runs = make_trials(p, place.path(), "");
    for (const Trial& trial : runs)
      make_run(place, "runs/" + trial.name, {{"metrics.jsonl", step_line(20, 3) + eval_line(20, 3)}});
    const Sweep sweep = read_sweep(collect(p, runs));
    std::string order;
    for (const SweepPoint& point : sweep.panels.at(0).curves.at(0).points)
      order += p.rows.values[point.row].label + " ";
    EXPECT_TRUE(sweep.panels[0].curves[0].best);
    return std::pair{sweep.scale, order};
  };
  EXPECT_EQ(scale("optim.lr=4,1,2"), (std::pair{XScale::log2, std::string("1 2 4 ")}));
  EXPECT_EQ(scale("optim.lr=1,3"), (std::pair{XScale::linear, std::string("1 3 ")}));
  EXPECT_EQ(scale("optim.clip=4,0"), (std::pair{XScale::linear, std::string("0 4 ")}));
  EXPECT_EQ(scale("recipe=fp32,bf16"), (std::pair{XScale::category, std::string("fp32 bf16 ")}));
}

TEST_F(LabSweep, WithoutValidationDataTheTrainingLossCounts) {
  make();
  for (const Trial& trial : trials) write(trial, false);
  const LabResult result = collect(plan, trials);
  const Sweep sweep = read_sweep(result);
  EXPECT_FALSE(sweep.validation);
  EXPECT_NEAR(sweep.panels[0].curves[0].points[2].loss.mean, 5.0015, 1e-9);
  EXPECT_NE(to_text(result).find("training loss"), std::string::npos);
  EXPECT_EQ(Json::parse(to_json(result))["sweep"]["loss"], "train_loss");
}

TEST_F(LabSweep, ALineForEveryRunThatIsDone) {
  make();
  const std::string path = directory / "results.jsonl";
  // One has not begun, one is under way.
  fs::remove_all(trials[1].config.out);
  fs::remove(trials[2].config.out + "/" + kFinishedMark);
  diverge("bf16-32-2_-9-s2");
  const SweepLines lines(plan, trials, path);
  spill(path, "half a li");
  lines.rebuild();
  std::vector<Json> found = lines_of(path);
  ASSERT_EQ(found.size(), trials.size() - 2);
  const Json& first = found[0];
  EXPECT_EQ(first["x"], 0x1p-9);
  EXPECT_EQ(first["curve"], 32);
  EXPECT_EQ(first["panel"], "bf16");
  EXPECT_EQ(first["seed"], 1);
  EXPECT_EQ(first["optim.lr"], 0x1p-9);
  EXPECT_EQ(first["model.width"], 32);
  EXPECT_EQ(first["model.heads"], 2);
  EXPECT_EQ(first["recipe"], "bf16");
  EXPECT_NEAR(first["loss"].get<double>(), 5.401, 1e-9);
  EXPECT_NEAR(first["val_loss"].get<double>(), 4.401, 1e-9);
  EXPECT_EQ(first["diverged"], false);
  EXPECT_EQ(first["tokens_per_second"], 1000);
  EXPECT_EQ(first["run"], "runs/bf16-32-2_-9-s1");
  const Json& lost = found[2];
  EXPECT_EQ(lost["seed"], 2);
  EXPECT_EQ(lost["diverged"], true);
  EXPECT_EQ(lost["val_loss"], nullptr);
  // What ends later is added; the file made anew has each once, in the order of the runs.
  write(trials[2]);
  lines.append(2);
  found = lines_of(path);
  ASSERT_EQ(found.size(), trials.size() - 1);
  EXPECT_EQ(found.back()["run"], "runs/" + trials[2].name);
  lines.rebuild();
  found = lines_of(path);
  ASSERT_EQ(found.size(), trials.size() - 1);
  EXPECT_EQ(found[1]["run"], "runs/" + trials[2].name);
}

TEST_F(LabSweep, TheSchemaAndThePage) {
  make();
  const LabResult result = collect(plan, trials);
  const Json json = Json::parse(to_json(result));
  EXPECT_EQ(json["schema"], "octavo-lab-1");
  EXPECT_EQ(json["kind"], "sweep");
  EXPECT_EQ(json["baseline"], nullptr);
  EXPECT_EQ(json["groups"][0]["rows"][1]["delta_percent"], nullptr);
  const Json& sweep = json["sweep"];
  EXPECT_EQ(sweep["x"], "optim.lr");
  EXPECT_EQ(sweep["curves"], "model.width");
  EXPECT_EQ(sweep["scale"], "log2");
  EXPECT_EQ(sweep["loss"], "val_loss");
  const Json& curve = sweep["panels"][1]["curves"][1];
  EXPECT_EQ(sweep["panels"][1]["label"], "fp8-amax");
  EXPECT_EQ(curve["label"], "64");
  EXPECT_EQ(curve["shift_log2"], -1);
  EXPECT_EQ(curve["points"][curve["best"].get<size_t>()]["label"], "2^-8");
  EXPECT_EQ(curve["points"][0]["seeds"].size(), 2u);
  const auto pages = make_pages(result, directory.path());
  ASSERT_EQ(pages.size(), 1u);
  EXPECT_NE(pages.at("report.html").find("\"shift_log2\":-1"), std::string::npos);
}

TEST(LabSweepExperiment, AxesFromTheMatrix) {
  const std::string text = R"([run]
optim.weight_decay = "2^-3"
model.head_dim = 16
[matrix]
recipe = ["bf16", "fp8-amax"]
"model.width" = [32, "2^6..2^7"]
"optim.lr" = "2^-9..2^-7"
seed = [4]
[sweep]
x = "optim.lr"
curves = "model.width"
[quick.matrix]
"optim.lr" = ["2^-8", 0.5]
)";
  const LabPlan plan = parse_experiment(text, "e.toml", false).plan;
  ASSERT_TRUE(plan.sweep);
  EXPECT_EQ(plan.kind, "experiment");
  EXPECT_EQ(plan.rows.name, "optim.lr");
  ASSERT_EQ(plan.rows.values.size(), 3u);
  EXPECT_EQ(plan.rows.values[0].label, "2^-9");
  EXPECT_EQ(plan.rows.values[0].settings[0].value, "0.001953125");
  ASSERT_EQ(plan.groups.size(), 2u);
  EXPECT_EQ(plan.groups[0].name, "recipe");
  EXPECT_EQ(plan.groups[1].name, "model.width");
  EXPECT_EQ(plan.groups[1].values[2].settings[0].value, "128");
  EXPECT_FALSE(plan.keep_models);
  const std::vector<Trial> trials = make_trials(plan, "d", "");
  EXPECT_EQ(trials.size(), 18u);
  EXPECT_EQ(trials[0].config.optim.weight_decay, 0.125);
  EXPECT_DOUBLE_EQ(trials[0].config.optim.min_lr, 0x1p-9 / 10);
  const LabPlan quick = parse_experiment(text, "e.toml", true).plan;
  ASSERT_EQ(quick.rows.values.size(), 2u);
  EXPECT_EQ(quick.rows.values[1].label, "0.5");
}

TEST(LabSweepExperiment, Mistakes) {
  const auto expect = [](const std::string& sweep, const std::vector<std::string>& words) {
    const std::string text = "[matrix]\n\"optim.lr\" = [1, 2]\nrecipe = [\"bf16\"]\n" + sweep;
    expect_error([&] { parse_experiment(text, "e.toml", false); }, ExitCode::usage, words);
  };
  expect("[sweep]\n", {"e.toml:4", "needs x"});
  expect("[sweep]\nx = \"optim.lrr\"\n", {"e.toml:5", "optim.lrr", "'optim.lr'"});
  expect("[sweep]\nx = \"optim.lr\"\ncurves = \"optim.lr\"\n", {"e.toml:6", "curves"});
  expect("[sweep]\nx = \"optim.lr\"\ncurve = \"recipe\"\n", {"e.toml:6", "curves"});
  expect("[sweep]\nx = \"optim.lr\"\nwithin = 0\n", {"within"});
  expect("[sweep]\nx = \"optim.lr\"\n[interval]\nfamily = \"c\"\n", {"interval", "comparisons"});
  expect_error([&] { parse_experiment("[matrix]\n\"model.width\" = [\"2^-3\"]\n", "e.toml", false); },
               ExitCode::usage, {"e.toml:2", "model.width", "whole"});
  // A lone text is a range of numbers or nothing.
  expect_error([&] { parse_experiment("[matrix]\nrecipe = \"bf16\"\n", "e.toml", false); }, ExitCode::usage,
               {"e.toml:2", "list"});
}

}  // namespace
}  // namespace octavo
