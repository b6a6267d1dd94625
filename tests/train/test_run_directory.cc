// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/run_directory.h"

#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

TEST(TruncateLines, KeepsWhatIsNotLater) {
  const TemporaryDirectory directory;
  const std::string file = directory / "metrics.jsonl";
  spill(file,
        "{\"step\": 1}\n{\"step\": 2, \"x\": [1]}\n{\"event\": \"eval\", \"step\": 2}\n{\"step\": "
        "3}\n{\"step\": 4}\n");
  truncate_lines_after(file, 2);
  EXPECT_EQ(slurp(file), "{\"step\": 1}\n{\"step\": 2, \"x\": [1]}\n{\"event\": \"eval\", \"step\": 2}\n");
  truncate_lines_after(file, 0);
  EXPECT_EQ(slurp(file), "");
}

TEST(TruncateLines, DropsAnUnfinishedLineAndGarbage) {
  const TemporaryDirectory directory;
  const std::string file = directory / "metrics.jsonl";
  spill(
      file,
      "{\"step\": 1}\nnot json\n{\"other\": 1}\n{\"step\": \"one\"}\n[1]\n{\"step\": 2}\n{\"step\": 2, \"lo");
  truncate_lines_after(file, 9);
  EXPECT_EQ(slurp(file), "{\"step\": 1}\n{\"step\": 2}\n");
  truncate_lines_after(directory / "absent.jsonl", 9);
  EXPECT_FALSE(fs::exists(directory / "absent.jsonl"));
}

TEST(LineWriter, AppendsAndReportsAFullDisk) {
  const TemporaryDirectory directory;
  {
    LineWriter one(directory / "log.txt");
    one.line("a");
    LineWriter two = std::move(one);
    two.line("b");
  }
  LineWriter(directory / "log.txt").line("c");
  EXPECT_EQ(slurp(directory / "log.txt"), "a\nb\nc\n");
  LineWriter full("/dev/full");
  EXPECT_THROW(full.line("x"), Error);
}

TEST(RunDirectory, FactsAreAddedToTheEnvironment) {
  const TemporaryDirectory directory;
  RunConfig config;
  config.out = directory / "run";
  const RunDirectory run = RunDirectory::create(config, "name = \"x\"\n", 3);
  const auto before = nlohmann::json::parse(slurp(config.out + "/env.json"));
  EXPECT_EQ(before["threads"], 3);
  EXPECT_FALSE(before.contains("memory"));
  RunFacts facts;
  facts.model = "gpt2";
  facts.parameters = 1234;
  facts.memory = {{"weights", 4936}};
  run.write_facts(facts);
  auto after = nlohmann::json::parse(slurp(config.out + "/env.json"));
  EXPECT_EQ(after["memory"]["weights"], 4936);
  EXPECT_EQ(after["parameters"], 1234);
  EXPECT_FALSE(after.contains("peak_flops")) << "not measured";
  EXPECT_FALSE(after.contains("peak_resident")) << "not ended";
  for (const auto& [key, value] : before.items()) EXPECT_EQ(after[key], value) << key;
  facts.peak_resident = 1 << 20;
  run.write_facts(facts);
  after = nlohmann::json::parse(slurp(config.out + "/env.json"));
  EXPECT_EQ(after["peak_resident"], 1 << 20);
}

TEST(RunDirectory, RefusesADirectoryThatHoldsARun) {
  const TemporaryDirectory directory;
  RunConfig config;
  config.out = directory / "run";
  RunDirectory::create(config, "name = \"x\"\n", 1);
  try {
    RunDirectory::create(config, "name = \"x\"\n", 1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::usage);
    EXPECT_NE(std::string(error.what()).find("--resume " + config.out), std::string::npos) << error.what();
  }
  spill(directory / "file", "");
  config.out = directory / "file";
  EXPECT_THROW(RunDirectory::create(config, "", 1), Error);
}

}  // namespace
}  // namespace octavo
