// SPDX-License-Identifier: Apache-2.0
// octavo compare and octavo experiment from a text to the page, interrupted, killed, and told nonsense.
#include <algorithm>
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

std::vector<std::string> compare(const std::string& data, const std::string& out,
                                 const std::vector<std::string>& more = {}, const std::string& seeds = "2") {
  std::vector<std::string> args{"compare", "--data", data,        "--out",        out, "--vocab-size", "300",
                                "--seeds", seeds,    "--recipes", "bf16,fp8-amax"};
  for (const char* setting : {"model.width=32", "model.layers=2", "model.heads=2", "model.context=32",
                              "train.micro_batch=4", "eval.batches=4", "eval.every=0", "optim.warmup_steps=5",
                              "optim.lr=3e-3", "log.tensors_every=10", "checkpoint.every=25"}) {
    args.push_back("--set");
    args.push_back(setting);
  }
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

class Lab : public testing::Test {
 protected:
  Lab() { spill(at("text.txt"), generated_text(9000)); }
  std::string at(const std::string& name) const { return directory_ / name; }
  static int64_t lines(const std::string& path) {
    const std::string text = slurp(path);
    return std::count(text.begin(), text.end(), '\n');
  }
  /// What a run computed, without what a clock says.
  std::string losses(const std::string& run) const {
    std::string out;
    std::istringstream metrics(slurp(at(run + "/metrics.jsonl")));
    for (std::string line; std::getline(metrics, line);) {
      const auto json = nlohmann::json::parse(line);
      out += json["event"].dump() + json["step"].dump() + json["loss"].dump() + "\n";
    }
    return out + slurp(at(run + "/tensors.jsonl")) + slurp(at(run + "/final/model.safetensors"));
  }
  void expect(const std::vector<std::string>& args, int code, const std::vector<std::string>& words) const {
    const CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, code) << result.err;
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << "wants: " << word << "\n" << result.err;
    EXPECT_EQ(result.err.find("internal error"), std::string::npos) << result.err;
  }
  const TemporaryDirectory directory_;
};

TEST_F(Lab, FromATextToTheTable) {
  const CommandResult first = octavo_command(compare(at("text.txt"), at("lab"), {"--steps", "30"}));
  ASSERT_EQ(first.code, 0) << first.err;
  for (const char* word : {"bf16", "fp8-amax", "baseline", "±", "tokens/s", "2 seeds"})
    EXPECT_NE(first.out.find(word), std::string::npos) << word << "\n" << first.out;
  EXPECT_NE(first.err.find("run 4/4"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find("left"), std::string::npos) << first.err;
  EXPECT_NE(slurp(at("lab/report.html")).find("octavo-lab-1"), std::string::npos);
  const auto json = nlohmann::json::parse(slurp(at("lab/results.json")));
  const auto& rows = json["groups"][0]["rows"];
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["trials"][1]["run"], "runs/fp8-amax-s2");
  EXPECT_LT(rows[1]["activation_bytes"], rows[0]["activation_bytes"]);
  EXPECT_LT(rows[1]["weight_bytes"], rows[0]["weight_bytes"]);
  EXPECT_GT(rows[1]["classes"]["gradients"]["worst_snr_db"], 10);
  for (const auto& trial : rows[1]["trials"]) EXPECT_EQ(trial["steps"], 30);
  // Its loss is the run's own, which stays an ordinary run.
  const auto inspected = octavo_command({"inspect", at("lab/runs/fp8-amax-s2"), "--json"});
  ASSERT_EQ(inspected.code, 0) << inspected.err;
  EXPECT_NEAR(nlohmann::json::parse(inspected.out)["facts"]["validation loss"].get<double>(),
              rows[1]["trials"][1]["val_loss"].get<double>(), 1e-12);
  EXPECT_FALSE(fs::exists(at("lab/runs/fp8-amax-s2/checkpoints")));

  // Once more: nothing is trained, nothing of a run changes, the results are the same.
  const auto before = all_files(at("lab/runs"));
  const CommandResult again = octavo_command(compare(at("text.txt"), at("lab"), {"--steps", "30", "--json"}));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("4 of them finished"), std::string::npos) << again.err;
  EXPECT_EQ(all_files(at("lab/runs")), before);
  EXPECT_EQ(nlohmann::json::parse(again.out)["groups"], json["groups"]);

  // A further seed and recipe train only what is new; threads may change.
  const CommandResult more = octavo_command(
      compare(at("text.txt"), at("lab"), {"--steps", "30", "--recipes", "fp32", "--threads", "1"}));
  ASSERT_EQ(more.code, 0) << more.err;
  EXPECT_NE(more.err.find("6 runs, 4 of them finished"), std::string::npos) << more.err;

  expect(compare(at("text.txt"), at("lab"), {"--steps", "31"}), 2,
         {"lab/runs/bf16-s1", "train.steps = 30", "31"});
  expect(compare(at("text.txt"), at("lab"), {"--steps", "30", "--set", "optim.lr=1e-3"}), 2, {"optim.lr"});
}

// Killed without warning in the middle of the second run: the first is not repeated, the second goes on, and
// all ends with the same bits as if nothing had happened.
TEST_F(Lab, KilledAndStartedAgain) {
  const std::vector<std::string> more{"--steps", "800"};
  const CommandResult whole = octavo_command(compare(at("text.txt"), at("whole"), more, "1"));
  ASSERT_EQ(whole.code, 0) << whole.err;
  const CommandResult killed = octavo_command(compare(at("text.txt"), at("lab"), more, "1"), [&](pid_t pid) {
    while (is_running(pid) && lines(at("lab/runs/fp8-amax-s1/metrics.jsonl")) < 60) sleep_seconds(0.001);
    ::kill(pid, SIGKILL);
  });
  ASSERT_EQ(killed.code, -SIGKILL) << killed.err;
  ASSERT_TRUE(fs::exists(at("lab/runs/bf16-s1/final")));
  ASSERT_FALSE(fs::exists(at("lab/runs/fp8-amax-s1/final")));
  const auto finished = all_files(at("lab/runs/bf16-s1"));
  const CommandResult again = octavo_command(compare(at("text.txt"), at("lab"), more, "1"));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("2 runs, 1 of them finished"), std::string::npos) << again.err;
  EXPECT_NE(again.err.find("resumed at step"), std::string::npos) << again.err;
  EXPECT_EQ(again.err.find("run 1/2"), std::string::npos) << again.err;
  EXPECT_EQ(all_files(at("lab/runs/bf16-s1")), finished);
  for (const char* run : {"/runs/bf16-s1", "/runs/fp8-amax-s1"})
    EXPECT_EQ(losses(std::string("lab") + run), losses(std::string("whole") + run)) << run;
}

TEST_F(Lab, InterruptedItSavesAndSaysHowToGoOn) {
  const std::vector<std::string> more{"--steps", "800"};
  const CommandResult stopped = octavo_command(compare(at("text.txt"), at("lab"), more, "1"), [&](pid_t pid) {
    while (is_running(pid) && lines(at("lab/runs/bf16-s1/metrics.jsonl")) < 30) sleep_seconds(0.001);
    ::kill(pid, SIGINT);
  });
  EXPECT_EQ(stopped.code, 130) << stopped.err;
  EXPECT_NE(stopped.err.find("same command"), std::string::npos) << stopped.err;
  EXPECT_FALSE(fs::exists(at("lab/results.json")));
  EXPECT_FALSE(fs::exists(at("lab/runs/fp8-amax-s1")));
  EXPECT_EQ(octavo_command(compare(at("text.txt"), at("lab"), more, "1")).code, 0);
  EXPECT_TRUE(fs::exists(at("lab/results.json")));
}

TEST_F(Lab, OneProcessAtATime) {
  const std::vector<std::string> more{"--steps", "2000"};
  octavo_command(compare(at("text.txt"), at("lab"), more, "1"), [&](pid_t pid) {
    while (is_running(pid) && !fs::exists(at("lab/runs/bf16-s1/config.toml"))) sleep_seconds(0.001);
    ASSERT_TRUE(is_running(pid));
    expect(compare(at("text.txt"), at("lab"), more, "1"), 2, {"another octavo", at("lab")});
    ::kill(pid, SIGKILL);
  });
}

TEST_F(Lab, ADivergedRunIsAResult) {
  const std::vector<std::string> more{"--steps", "20",           "--set", "optim.lr=1e30",
                                      "--set",   "optim.clip=0", "--set", "optim.warmup_steps=0"};
  const CommandResult result = octavo_command(compare(at("text.txt"), at("lab"), more, "1"));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("1 of 1 diverged"), std::string::npos) << result.out;
  EXPECT_NE(result.err.find("diverged: step"), std::string::npos) << result.err;
  const auto json = nlohmann::json::parse(slurp(at("lab/results.json")));
  EXPECT_TRUE(json["groups"][0]["rows"][0]["trials"][0]["diverged"].is_string());
  EXPECT_EQ(json["groups"][0]["rows"][1]["delta_percent"]["mean"], nullptr);
  EXPECT_NE(octavo_command(compare(at("text.txt"), at("lab"), more, "1")).err.find("2 of them finished"),
            std::string::npos);
}

TEST_F(Lab, Experiments) {
  const CommandResult list = octavo_command({"experiment", "list"});
  EXPECT_EQ(list.code, 0);
  EXPECT_NE(list.out.find("fp8-amax-widths"), std::string::npos) << list.out;
  EXPECT_NE(list.out.find("--quick"), std::string::npos) << list.out;
  const CommandResult show = octavo_command({"experiment", "show", "cscale-interval"});
  EXPECT_NE(show.out.find("[interval]"), std::string::npos) << show.out;

  for (const int constant : {-20, 3})
    spill(at("c" + std::to_string(constant) + ".toml"),
          "[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"constant\"\nexponent = " +
              std::to_string(constant) + "\n");
  const auto named = [&](int c) {
    return "{name = \"c:" + std::to_string(c) + "\", recipe = '" + at("c" + std::to_string(c) + ".toml") +
           "'}";
  };
  spill(at("mine.toml"), R"(description = "two widths"
[data]
vocab_size = 300
[run]
model = {layers = 1, heads = 2, context = 32}
train = {steps = 60, micro_batch = 4}
eval.batches = 4
optim = {warmup_steps = 5, lr = 3e-3}
[matrix]
"model.width" = [32, 64]
recipe = [{name = "bf16", recipe = "bf16"}, )" +
                             named(-20) + ", " + named(3) + R"(]
seed = [1, 2]
[interval]
family = "c"
within = 5
[quick]
run = {train.steps = 10}
matrix = {seed = [4]}
)");
  const CommandResult quick = octavo_command(
      {"experiment", "run", at("mine.toml"), "--data", at("text.txt"), "--out", at("lab"), "--quick"});
  ASSERT_EQ(quick.code, 0) << quick.err;
  EXPECT_NE(quick.out.find("model.width 64:"), std::string::npos) << quick.out;
  EXPECT_NE(quick.out.find("c: constants"), std::string::npos) << quick.out;
  const auto json = nlohmann::json::parse(slurp(at("lab/results.json")));
  EXPECT_EQ(json["kind"], "experiment");
  EXPECT_EQ(json["name"], "mine");
  EXPECT_EQ(json["steps"], 10);
  EXPECT_EQ(json["seeds"], std::vector<int>{4});
  ASSERT_EQ(json["groups"].size(), 2u);
  EXPECT_EQ(json["groups"][1]["point"]["model.width"], "64");
  EXPECT_EQ(json["groups"][0]["interval"]["points"].size(), 2u);
  // At 2^-20 every code is zero: nothing of the signal is left.
  EXPECT_EQ(json["groups"][0]["rows"][1]["classes"]["weights"]["worst_underflow"], 1.0);
  EXPECT_LT(json["groups"][0]["rows"][2]["classes"]["weights"]["worst_underflow"], 0.1);
  EXPECT_TRUE(fs::exists(at("lab/report-model.width_64.html")));
}

TEST_F(Lab, BadInput) {
  expect({"compare"}, 2, {"--"});
  expect({"compare", "--recipes", "bf16", "--data", at("text.txt"), "--out", at("lab")}, 2, {"--preset"});
  expect(compare(at("nowhere.txt"), at("lab")), 4, {"nowhere.txt"});
  expect(compare(at("text.txt"), at("lab"), {"--recipes", "fp8-amx"}), 2, {"fp8-amx", "fp8-amax"});
  expect(compare(at("text.txt"), at("lab"), {"--recipes", "bf16"}), 2, {"bf16", "share"});
  expect(compare(at("text.txt"), at("lab"), {"--set", "recipe=fp32"}), 2, {"--set", "recipe"});
  expect(compare(at("text.txt"), at("lab"), {"--set", "seed=3"}), 2, {"--seeds"});
  expect(compare(at("text.txt"), at("lab"), {"--set", "optim.lrr=3"}), 2, {"optim.lr"});
  expect(compare(at("text.txt"), at("lab"), {"--preset", "gpt-mni"}), 2, {"gpt-mini"});
  expect(compare(at("text.txt"), at("lab"), {"--steps", "0"}), 2, {"--steps"});
  expect(compare(at("text.txt"), at("lab"), {"--set", "model.context=100000"}), 4, {"tokens"});
  expect(compare(at("text.txt"), at("lab"), {"--set", "model.width=33"}), 4, {"width 33"});
  EXPECT_TRUE(fs::is_empty(at("lab/runs")));
  expect(compare(at("text.txt"), at("text.txt/lab")), 4, {"text.txt/lab"});
  expect(compare(at("lab/data/train_000000.octok"), at("lab")), 2, {"train_000000.octok", "validation"});
  expect({"experiment"}, 2, {"subcommand"});
  expect({"experiment", "run", "fp8-amax-widths", "--quik"}, 2, {"--quick", "octavo experiment run --help"});
  expect({"experiment", "run", "fp8-amax-width", "--data", at("text.txt")}, 2,
         {"did you mean 'fp8-amax-widths'"});
  expect({"experiment", "run", at("none.toml"), "--data", at("text.txt")}, 4, {"none.toml"});
  spill(at("bad.toml"), "[matrix]\nrecipe = [\"bf16\"]\n[quik]\n");
  expect({"experiment", "run", at("bad.toml"), "--data", at("text.txt")}, 2, {"bad.toml:3", "quick"});
  expect({"inspect"}, 2, {"path"});
  expect({"inspect", at("nowhere")}, 4, {"nowhere"});
  expect({"inspect", at("text.txt")}, 4, {"text.txt"});
}

}  // namespace
}  // namespace octavo
