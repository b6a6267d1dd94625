// SPDX-License-Identifier: Apache-2.0
// A run that is killed again and again ends with the same files, byte for byte, as one that was left alone.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "cli/run_octavo.h"
#include "octavo/base/file.h"

namespace octavo {
namespace {

class Resume : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(*directory_ / "text.txt", *directory_ / "data");
    // Gradients overflow to infinity until the loss scale has come down.
    write_file_atomic(at("dynamic.toml"), R"([gemm]
format = "e4m3"
scaling = { kind = "current" }
[gemm.grad_output]
format = "e5m2"
overflow = "inf"
scaling = { kind = "constant", exponent = 12 }
[loss]
scale = "dynamic"
)");
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string at(const std::string& name) { return *directory_ / name; }

  static std::vector<std::string> run_args(const std::string& name, const std::string& recipe,
                                           const std::string& family, int threads, int steps) {
    return tiny_run(
        at("data"), at(name),
        {"--recipe", recipe, "--set", "model.family=" + family, "--threads", std::to_string(threads),
         "--steps", std::to_string(steps), "--save-every", "6", "--eval-every", "9", "--log-tensors", "4",
         "--seed", "3", "--optimizer", family == "octavo" ? "lion" : "adamw"});
  }

  /// The same final/ and checkpoints, and each step in metrics.jsonl once, with the same losses.
  static void expect_same(const std::string& a, const std::string& b, int steps) {
    for (const char* part : {"final", "checkpoints"}) {
      const auto expected = all_files(at(a) + "/" + part), found = all_files(at(b) + "/" + part);
      ASSERT_FALSE(expected.empty());
      std::set<std::string> names, other;
      for (const auto& [name, content] : expected) names.insert(name);
      for (const auto& [name, content] : found) other.insert(name);
      EXPECT_EQ(names, other) << part;
      for (const auto& [name, content] : expected)
        if (found.count(name)) {
          EXPECT_TRUE(content == found.at(name)) << part << "/" << name << " differs";
        }
    }
    EXPECT_EQ(records(a, "metrics.jsonl", steps), records(b, "metrics.jsonl", steps));
    EXPECT_EQ(slurp(at(a) + "/tensors.jsonl"), slurp(at(b) + "/tensors.jsonl"));
  }

  /// Lines without their timings.
  static std::vector<std::string> records(const std::string& run, const std::string& file, int steps) {
    std::vector<std::string> lines;
    std::istringstream text(slurp(at(run) + "/" + file));
    int next = 1;
    for (std::string line; std::getline(text, line);) {
      nlohmann::json j = nlohmann::json::parse(line);
      if (j["event"] == "step") {
        EXPECT_EQ(j["step"], next++);
      }
      for (const char* timing : {"tokens_per_second", "ms", "speed_of_light"}) j.erase(timing);
      lines.push_back(j.dump());
    }
    EXPECT_EQ(next, steps + 1);
    return lines;
  }

  static size_t lines_of(const std::string& run) {
    const std::string text = slurp(at(run) + "/metrics.jsonl");
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  static TemporaryDirectory* directory_;
};
TemporaryDirectory* Resume::directory_ = nullptr;

TEST_F(Resume, KilledRunsEndWithTheSameBytes) {
  constexpr int kSteps = 40;
  struct Case {
    const char *recipe, *family;
    int threads;
  };
  int index = 0;
  for (const auto& [short_name, family, threads] :
       {Case{"fp8-amax", "llama", 1}, Case{"bf16", "gpt2", 2}, Case{"fp8-amax", "gpt2", 2},
        Case{"fp8-delayed", "llama", 2}, Case{"fp8-cscale:4", "gpt2", 1}, Case{"fp8-mse", "gpt2", 2},
        Case{"fp8-amax-fp16", "llama", 1}, Case{"dynamic.toml", "llama", 1}, Case{"fp8-row", "gpt2", 2},
        Case{"fp8-row-hp-wgrad", "llama", 1}, Case{"munit", "octavo", 2}}) {
    SCOPED_TRACE(std::string(short_name) + " " + family);
    const std::string recipe =
        std::string(short_name).ends_with(".toml") ? at(short_name) : std::string(short_name);
    const std::string name = std::to_string(index++), whole = "whole" + name, killed = "killed" + name;
    const CommandResult uninterrupted = octavo_command(run_args(whole, recipe, family, threads, kSteps));
    ASSERT_EQ(uninterrupted.code, 0) << uninterrupted.err;

    const Rng rng(static_cast<uint64_t>(index));
    int kills = 0;
    for (uint64_t attempt = 0; attempt < 6; ++attempt) {
      std::vector<std::string> args{"train", "--resume", at(killed)};
      if (!fs::exists(at(killed) + "/config.toml"))
        args = run_args(killed, recipe, family, 3 - threads, kSteps);
      // After a random number of further steps, and then at a random moment of what follows: a step, an
      // evaluation, a save.
      const size_t steps = 1 + rng.integer(attempt) % 9;
      const CommandResult result = octavo_command(args, [&](pid_t pid) {
        const size_t before = lines_of(killed);
        while (is_running(pid) && lines_of(killed) < before + steps) sleep_seconds(0.0005);
        sleep_seconds(0.01 * rng.uniform(100 + attempt));
        ::kill(pid, SIGKILL);
      });
      ASSERT_TRUE(result.code == -SIGKILL || result.code == 0) << result.err;
      kills += result.code == -SIGKILL;
    }
    EXPECT_GE(kills, 2);
    const CommandResult last = octavo_command({"train", "--resume", at(killed)});
    ASSERT_EQ(last.code, 0) << last.err;
    expect_same(whole, killed, kSteps);
    if (recipe != short_name) {
      const std::string metrics = slurp(at(whole) + "/metrics.jsonl");
      EXPECT_NE(metrics.find("\"skipped\":true"), std::string::npos);
      EXPECT_NE(metrics.find("\"skipped\":false"), std::string::npos);
    }
  }
}

TEST_F(Resume, AnInterruptSavesAndGoesOn) {
  constexpr int kSteps = 60;
  for (const int signal : {SIGINT, SIGTERM}) {
    const std::string whole = "calm" + std::to_string(signal), stopped = "stopped" + std::to_string(signal);
    ASSERT_EQ(octavo_command(run_args(whole, "fp8-amax", "llama", 2, kSteps)).code, 0);
    const CommandResult result =
        octavo_command(run_args(stopped, "fp8-amax", "llama", 1, kSteps), [&](pid_t pid) {
          while (is_running(pid) && lines_of(stopped) < 8) sleep_seconds(0.001);
          ::kill(pid, signal);
        });
    ASSERT_EQ(result.code, 130) << result.err;
    EXPECT_NE(result.err.find("--resume " + at(stopped)), std::string::npos) << result.err;
    EXPECT_FALSE(fs::exists(at(stopped) + "/final"));
    const CommandResult resumed = octavo_command({"train", "--resume", at(stopped)});
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    expect_same(whole, stopped, kSteps);
  }
}

TEST_F(Resume, DelayedScalesAndStochasticRoundingGoOnToo) {
  spill(at("memory.toml"),
        "name = \"memory\"\n[gemm]\nformat = \"e4m3\"\nrounding = \"stochastic\"\n[gemm.scaling]\nkind = "
        "\"delayed\"\nwindow = 4\n");
  ASSERT_EQ(octavo_command(run_args("memory_whole", at("memory.toml"), "llama", 2, 20)).code, 0);
  ASSERT_EQ(octavo_command(run_args("memory_parts", at("memory.toml"), "llama", 2, 20),
                           [&](pid_t pid) {
                             while (is_running(pid) &&
                                    !fs::exists(at("memory_parts") + "/checkpoints/step_00000006"))
                               sleep_seconds(0.001);
                             ::kill(pid, SIGKILL);
                           })
                .code,
            -SIGKILL);
  ASSERT_EQ(octavo_command({"train", "--resume", at("memory_parts")}).code, 0);
  expect_same("memory_whole", "memory_parts", 20);
}

TEST_F(Resume, ExamplesWithMarksGoOnToo) {
  std::string examples;
  for (uint64_t i = 0; i < 150; ++i)
    examples += nlohmann::json{{"question", generated_text(1 + static_cast<int>(i % 7), i)},
                               {"answer", generated_text(1 + static_cast<int>(i % 9), 1000 + i)}}
                    .dump() +
                "\n";
  spill(at("examples.jsonl"), examples);
  ASSERT_EQ(octavo_command({"prepare", "--sft", at("examples.jsonl"), "--template", "plain", "--tokenizer",
                            at("data"), "--out", at("sft")})
                .code,
            0);
  const auto args = [&](const std::string& name, int threads) {
    std::vector<std::string> all = run_args(name, "fp8-amax", "llama", threads, 20);
    *std::find(all.begin(), all.end(), at("data")) = at("sft");
    all.insert(all.end(), {"--grad-accum", "2"});
    return all;
  };
  ASSERT_EQ(octavo_command(args("marked_whole", 2)).code, 0);
  ASSERT_EQ(octavo_command(args("marked_parts", 1),
                           [&](pid_t pid) {
                             while (is_running(pid) &&
                                    !fs::exists(at("marked_parts") + "/checkpoints/step_00000006"))
                               sleep_seconds(0.001);
                             ::kill(pid, SIGKILL);
                           })
                .code,
            -SIGKILL);
  ASSERT_EQ(octavo_command({"train", "--resume", at("marked_parts")}).code, 0);
  expect_same("marked_whole", "marked_parts", 20);
}

TEST_F(Resume, ADamagedCheckpointIsNamedAndSkipped) {
  ASSERT_EQ(octavo_command(run_args("good", "bf16", "gpt2", 2, 20)).code, 0);
  ASSERT_EQ(octavo_command(run_args("damaged", "bf16", "gpt2", 2, 20)).code, 0);
  // Step 20 is unreadable, and the final model was never written: the run goes on from step 18.
  fs::remove_all(at("damaged") + "/final");
  fs::remove(at("damaged") + "/checkpoints/step_00000020/MANIFEST.json");
  const CommandResult result = octavo_command({"train", "--resume", at("damaged"), "--keep", "2"});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.err.find("step_00000020"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("step_00000018 (step 18)"), std::string::npos) << result.err;
  EXPECT_TRUE(fs::exists(at("damaged") + "/checkpoints/step_00000020.damaged"));
  fs::remove_all(at("damaged") + "/checkpoints/step_00000020.damaged");
  expect_same("good", "damaged", 20);
}

TEST_F(Resume, AFinishedRunStaysAsItIs) {
  ASSERT_EQ(octavo_command(run_args("done", "bf16", "gpt2", 1, 10)).code, 0);
  const auto before = all_files(at("done"));
  ASSERT_EQ(octavo_command({"train", "--resume", at("done")}).code, 0);
  auto after = all_files(at("done"));
  for (const auto& [name, content] : before)
    if (name != "env.json" && name != "log.txt") {
      EXPECT_TRUE(content == after[name]) << name << " changed";
    }
}

TEST_F(Resume, LoggingChangesNoResult) {
  const auto losses = [&](const std::string& name, const std::vector<std::string>& more) {
    std::vector<std::string> args = run_args(name, "fp8-amax", "gpt2", 2, 12);
    args.insert(args.end(), more.begin(), more.end());
    EXPECT_EQ(octavo_command(args).code, 0);
    return slurp(at(name) + "/final/model.safetensors");
  };
  EXPECT_TRUE(losses("silent", {"--set", "log.tensors_every=0"}) ==
              losses("chatty", {"--set", "log.tensors_every=1", "--profile"}));
}

}  // namespace
}  // namespace octavo
