// SPDX-License-Identifier: Apache-2.0
// octavo sweep from a text to its results: interrupted, grown, with runs that diverge, and told nonsense.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

using Json = nlohmann::json;
using Words = std::vector<std::string>;

class SweepCommand : public testing::Test {
 protected:
  SweepCommand() { spill(at("text.txt"), generated_text(9000)); }
  std::string at(const std::string& name) const { return directory_ / name; }
  Words sweep(const std::string& x, const Words& more = {}, const std::string& steps = "12") const {
    Words args{"sweep",   at("text.txt"), "-o",        at("out"), "--vocab-size", "300", "--x", x,
               "--steps", steps,          "--threads", "1"};
    // Widths on an axis find their heads; one that is fixed needs them said.
    const bool widths = std::find(more.begin(), more.end(), "--curves") != more.end();
    Words settings{"model.layers=1", "model.context=32",     "train.micro_batch=4", "eval.batches=2",
                   "eval.every=0",   "optim.warmup_steps=2", "checkpoint.every=25"};
    if (widths)
      settings.push_back("model.head_dim=16");
    else
      settings.insert(settings.end(), {"model.width=32", "model.heads=2"});
    for (const std::string& setting : settings) {
      args.push_back("--set");
      args.push_back(setting);
    }
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }
  std::vector<Json> lines() const {
    std::vector<Json> out;
    std::istringstream text(slurp(at("out/results.jsonl")));
    for (std::string line; std::getline(text, line);) out.push_back(Json::parse(line));
    return out;
  }
  void expect(const Words& args, int code, const Words& words) const {
    const CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, code) << result.err;
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << "wants: " << word << "\n" << result.err;
    EXPECT_EQ(result.err.find("internal error"), std::string::npos) << result.err;
  }
  const TemporaryDirectory directory_;
};

TEST_F(SweepCommand, FromATextToTheTable) {
  const Words more{"--curves", "model.width=32,64", "--panels", "recipe=bf16,fp8-amax"};
  const CommandResult first = octavo_command(sweep("optim.lr=2^-13,2^-8..2^-7", more));
  ASSERT_EQ(first.code, 0) << first.err;
  for (const char* word : {"best optim.lr", "fp8-amax:", "validation loss", "shift", "2^-7", "One seed"})
    EXPECT_NE(first.out.find(word), std::string::npos) << word << "\n" << first.out;
  EXPECT_NE(first.err.find("run 12/12"), std::string::npos) << first.err;
  const std::vector<Json> found = lines();
  ASSERT_EQ(found.size(), 12u);
  EXPECT_EQ(found[11]["run"], "runs/fp8-amax-64-2_-7-s1");
  EXPECT_EQ(found[11]["recipe"], "fp8-amax");
  const auto results = Json::parse(slurp(at("out/results.json")));
  EXPECT_EQ(results["sweep"]["panels"][1]["curves"][1]["points"][2]["seeds"][0]["loss"],
            found[11]["val_loss"]);
  EXPECT_NE(slurp(at("out/report.html")).find("shift_log2"), std::string::npos);
  // The widths got their heads; the lowest rate lies below the min_lr that goes with the default.
  EXPECT_NE(slurp(at("out/runs/bf16-64-2_-13-s1/config.toml")).find("heads = 4"), std::string::npos);

  // No model stays, and yet nothing is trained again; what is added is.
  for (const Json& line : found) {
    const std::string run = at("out/" + line["run"].get<std::string>());
    EXPECT_FALSE(fs::exists(run + "/final") || fs::exists(run + "/checkpoints")) << run;
  }
  const auto before = all_files(at("out/runs"));
  spill(at("out/results.jsonl"), slurp(at("out/results.jsonl")) + "{\"x\": 0.0");  // as a power cut leaves it
  const CommandResult again = octavo_command(sweep("optim.lr=2^-13,2^-9..2^-7", more));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("16 runs, 12 of them finished"), std::string::npos) << again.err;
  const auto after = all_files(at("out/runs"));
  for (const auto& [file, text] : before) EXPECT_TRUE(after.at(file) == text) << file;
  std::set<std::string> runs;
  for (const Json& line : lines()) runs.insert(line["run"]);
  EXPECT_EQ(runs.size(), 16u);
  EXPECT_EQ(lines().size(), 16u);

  const CommandResult inspected = octavo_command({"inspect", at("out/runs/bf16-64-2_-8-s1")});
  EXPECT_NE(inspected.out.find("finished; its model was not kept"), std::string::npos) << inspected.out;
}

TEST_F(SweepCommand, InterruptedItGoesOn) {
  const CommandResult stopped = octavo_command(sweep("optim.lr=2^-9..2^-8", {}, "600"), [&](pid_t pid) {
    while (is_running(pid) && !fs::exists(at("out/runs/2_-8-s1/metrics.jsonl"))) sleep_seconds(0.001);
    ::kill(pid, SIGKILL);
  });
  ASSERT_EQ(stopped.code, -SIGKILL) << stopped.err;
  ASSERT_EQ(lines().size(), 1u);  // written when its run ended
  EXPECT_EQ(lines()[0]["x"], 0x1p-9);
  const Json first = lines()[0];
  // Killed between the end of a run and the removal of its model: the model goes now.
  fs::create_directories(at("out/runs/2_-9-s1/final"));
  const CommandResult again = octavo_command(sweep("optim.lr=2^-9..2^-8", {"--json"}, "600"));
  ASSERT_EQ(again.code, 0) << again.err;
  EXPECT_NE(again.err.find("2 runs, 1 of them finished"), std::string::npos) << again.err;
  EXPECT_FALSE(fs::exists(at("out/runs/2_-9-s1/final")));
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_EQ(lines()[0], first);
  EXPECT_EQ(Json::parse(again.out)["kind"], "sweep");
}

TEST_F(SweepCommand, ModelsStayWhenAskedFor) {
  ASSERT_EQ(octavo_command(sweep("optim.lr=1e-3", {"--keep-models"})).code, 0);
  EXPECT_TRUE(fs::exists(at("out/runs/1e-3-s1/final/model.safetensors")));
  EXPECT_FALSE(fs::exists(at("out/runs/1e-3-s1/checkpoints")));
}

TEST_F(SweepCommand, ADivergedRunIsAResult) {
  const Words more{"--set", "optim.clip=0", "--recipe", "bf16"};
  const CommandResult result = octavo_command(sweep("optim.lr=1e-3,1e30", more));
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("1 of 2"), std::string::npos) << result.out;
  ASSERT_EQ(lines().size(), 2u);
  EXPECT_EQ(lines()[1]["diverged"], true);
  EXPECT_EQ(lines()[1]["val_loss"], nullptr);
  EXPECT_EQ(lines()[0]["diverged"], false);
  EXPECT_NE(octavo_command(sweep("optim.lr=1e-3,1e30", more)).err.find("2 of them finished"),
            std::string::npos);
}

TEST_F(SweepCommand, DataWithoutAValidationSplit) {
  const CommandResult prepared = octavo_command({"prepare", "--input", at("text.txt"), "--out", at("set"),
                                                 "--vocab-size", "300", "--val-fraction", "0"});
  ASSERT_EQ(prepared.code, 0) << prepared.err;
  Words args = sweep("recipe=bf16,fp8-amax");
  args[1] = at("set");
  args.insert(args.begin() + 1, {"--seeds", "1,2"});  // a list does not take the word after it
  const CommandResult result = octavo_command(args);
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("training loss"), std::string::npos) << result.out;
  ASSERT_EQ(lines().size(), 4u);
  EXPECT_EQ(lines()[1]["x"], "fp8-amax");
  EXPECT_TRUE(lines()[1]["loss"].is_number());
  EXPECT_EQ(lines()[1]["val_loss"], nullptr);
}

TEST_F(SweepCommand, AnExperimentIsASweepToo) {
  spill(at("mine.toml"), R"([data]
vocab_size = 300
[run]
model = {layers = 1, head_dim = 16, context = 32}
train = {steps = 10, micro_batch = 4}
eval.batches = 2
threads = 1
[matrix]
"model.width" = [32, 48]
"optim.lr" = "2^-9..2^-7"
seed = [1]
[sweep]
x = "optim.lr"
curves = "model.width"
)");
  const CommandResult result =
      octavo_command({"experiment", "run", at("mine.toml"), "--data", at("text.txt"), "--out", at("out")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find("best optim.lr"), std::string::npos) << result.out;
  EXPECT_EQ(lines().size(), 6u);
  EXPECT_FALSE(fs::exists(at("out/runs/32-2_-9-s1/final")));
  const auto results = Json::parse(slurp(at("out/results.json")));
  EXPECT_EQ(results["kind"], "experiment");
  EXPECT_EQ(results["sweep"]["panels"][0]["curves"][1]["label"], "48");
}

TEST_F(SweepCommand, BadInput) {
  expect({"sweep"}, 2, {"octavo sweep --help"});
  expect({"sweep", at("text.txt"), "-o", at("out")}, 2, {"--x"});
  expect(sweep("optim.lrr=1"), 2, {"--x", "optim.lr"});
  expect(sweep("optim.lr=2^-6..2^-9"), 2, {"2^-9..2^-6"});
  expect(sweep("train.steps=10,20"), 2, {"--steps", "train.steps"});
  expect(sweep("optim.lr=abc"), 2, {"optim.lr", "abc"});
  expect(sweep("recipe=fp8-amx"), 2, {"fp8-amx", "fp8-amax"});
  expect(sweep("seed=1,2"), 2, {"--seeds"});
  expect(sweep("optim.lr=1e-3", {"--seeds", "1,-2"}), 2, {"--seeds"});
  expect(sweep("optim.lr=1e-3", {"--seeds", "1,1"}), 2, {"share"});
  expect(sweep("optim.lr=1e-3", {"--curves", "model.width=32,40"}), 2, {"40", "model.heads"});
}

}  // namespace
}  // namespace octavo
