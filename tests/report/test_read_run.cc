// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "report/report_testing.h"

namespace octavo {
namespace {

/// Reading the run must fail with bad_data and name all of `words`.
void expect_bad(const std::string& path, const std::vector<std::string>& words) {
  try {
    read_run(path);
    ADD_FAILURE() << path << " was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ExitCode::bad_data);
    for (const std::string& word : words)
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos)
          << word << " is not in: " << error.what();
  }
}

TEST(ReadRun, AWholeRun) {
  const TemporaryDirectory directory;
  const std::string path = make_run(
      directory, "a",
      {{"config.toml",
        "recipe = 'recipes/mine.toml'\nseed = 3\nout = 'x'\n[train]\nsteps = 2\n[optim]\nlr = "
        "2e-3\n[data]\ntrain = ['p', 'q']\n"},
       {"recipe.toml",
        "name = \"mine\"\ndescription = \"d\"\npaper = \"p\"\ndeviations = [\"one\", \"two\"]\n"},
       {"env.json",
        R"({"version":"0.1.0","cpu":"c","threads":2,"parameters":1000,"peak_flops":1e12,"memory":{"weights":4000,"optimizer":8000},"new":[1]})"},
       {"metrics.jsonl", step_line(1, 8.5, R"(,"profile_ms":{"gemm":10,"norm":2})") +
                             step_line(2, 8.25, R"(,"profile_ms":{"gemm":20,"norm":4})") + eval_line(2, 8.3) +
                             "{\"event\":\"something new\"}\n"},
       {"tensors.jsonl", tensor_line(1, "transformer.h.0.mlp.c_fc", "gemm.weight", -12) +
                             tensor_line(1, "transformer.h.0.mlp.c_fc", "gemm.input", -7)}});
  const RunData run = read_run(path + "/");
  EXPECT_EQ(run.name, "a");
  EXPECT_EQ(run.recipe, "mine");
  EXPECT_EQ(run.deviations, (std::vector<std::string>{"one", "two"}));
  EXPECT_EQ(run.config.at("train.steps"), "2");
  EXPECT_EQ(run.config.at("optim.lr"), "0.002");
  EXPECT_EQ(run.config.at("data.train"), "p, q");
  EXPECT_FALSE(run.config.contains("out"));
  EXPECT_EQ(run.env.at("cpu"), "c");
  EXPECT_EQ(run.env.at("threads"), "2");
  EXPECT_EQ(run.parameters, 1000);
  EXPECT_EQ(run.memory.at("optimizer"), 8000);
  ASSERT_EQ(run.steps.size(), 2u);
  EXPECT_EQ(run.steps[1].loss, 8.25);
  ASSERT_EQ(run.evals.size(), 1u);
  EXPECT_EQ(run.evals[0].loss, 8.3);
  ASSERT_EQ(run.profile_ms.size(), 2u);
  EXPECT_EQ(run.profile_ms[0], (std::pair<std::string, double>("gemm", 15)));
  ASSERT_EQ(run.tensors.size(), 2u);
  EXPECT_EQ(run.tensors[1].scale_exponent, -7);
  EXPECT_EQ(run.tensors[1].exponent_first, -9);
  EXPECT_EQ(run.tensors[1].exponent_counts, (std::vector<uint32_t>{1, 20, 300}));
  EXPECT_TRUE(run.notes.empty());
}

TEST(ReadRun, TensorsAloneAreEnough) {
  const TemporaryDirectory directory;
  const RunData run =
      read_run(make_run(directory, "t", {{"tensors.jsonl", tensor_line(1, "x", "gemm.input", -7)}}));
  EXPECT_EQ(run.tensors.size(), 1u);
  EXPECT_TRUE(run.steps.empty());
}

TEST(ReadRun, OldLinesAndNulls) {
  const TemporaryDirectory directory;
  const RunData run = read_run(
      make_run(directory, "old",
               {{"metrics.jsonl", "{\"event\":\"step\",\"step\":1,\"loss\":null}\n"},
                {"tensors.jsonl",
                 R"({"step":1,"tensor":"x","role":"gemm.input","format":"e4m3","amax":null,"snr_db":null})"
                 "\n"}}));
  EXPECT_TRUE(std::isnan(run.steps[0].loss));
  EXPECT_TRUE(std::isnan(run.steps[0].ms));
  EXPECT_TRUE(std::isnan(run.tensors[0].scale_exponent));
  EXPECT_TRUE(run.tensors[0].exponent_counts.empty());
}

TEST(ReadRun, AnUnfinishedLastLineIsNoted) {
  const TemporaryDirectory directory;
  const RunData run =
      read_run(make_run(directory, "cut", {{"metrics.jsonl", step_line(1, 5) + "{\"event\":\"st"}}));
  EXPECT_EQ(run.steps.size(), 1u);
  ASSERT_EQ(run.notes.size(), 1u);
  EXPECT_NE(run.notes[0].find("metrics.jsonl"), std::string::npos);
}

TEST(ReadRun, TheLastLineOfAStepCounts) {
  const TemporaryDirectory directory;
  const RunData run = read_run(
      make_run(directory, "twice", {{"metrics.jsonl", step_line(2, 7) + step_line(1, 9) + step_line(2, 6)}}));
  ASSERT_EQ(run.steps.size(), 2u);
  EXPECT_EQ(run.steps[0].loss, 9);
  EXPECT_EQ(run.steps[1].loss, 6);
}

TEST(ReadRun, WhatIsNoRun) {
  const TemporaryDirectory directory;
  expect_bad(directory / "nowhere", {"nowhere", "not a directory"});
  expect_bad(make_run(directory, "empty", {}), {"empty", "metrics.jsonl"});
  spill(directory / "file", "x");
  expect_bad(directory / "file", {"file", "not a directory"});
}

TEST(ReadRun, BadFilesAreNamedWithTheirLine) {
  const TemporaryDirectory directory;
  const std::string good = step_line(1, 5);
  int count = 0;
  const auto metrics = [&](const std::string& text, const std::vector<std::string>& words) {
    expect_bad(make_run(directory, fmt::format("m{}", ++count), {{"metrics.jsonl", text}}), words);
  };
  metrics(good + "not json\n", {"metrics.jsonl:2", "JSON"});
  metrics(good + "[1]\n", {"metrics.jsonl:2", "array", "object"});
  metrics(good + good + "{\"event\":\"step\"}\n", {"metrics.jsonl:3", "'step' is missing"});
  metrics("{\"event\":\"step\",\"step\":\"one\"}\n", {"metrics.jsonl:1", "'step'", "string"});
  metrics("{\"event\":\"step\",\"step\":-1}\n", {"metrics.jsonl:1", "'step'", "-1"});
  metrics("{\"event\":\"step\",\"step\":18446744073709551615}\n", {"metrics.jsonl:1", "'step'"});
  metrics("{\"event\":\"step\",\"step\":1,\"loss\":\"low\"}\n", {"metrics.jsonl:1", "'loss'", "number"});
  metrics("{\"event\":\"step\",\"step\":1,\"loss\":1e999}\n", {"metrics.jsonl:1", "out of range"});
  metrics("{\"event\":\"step\",\"step\":1,\"profile_ms\":{\"gemm\":\"x\"}}\n",
          {"metrics.jsonl:1", "profile_ms"});
  metrics("{\"event\":\"step\",\"step\":1,\"loss\":1,\"loss\":2}\n", {"metrics.jsonl:1", "twice"});
  metrics(std::string(100000, '[') + "\n", {"metrics.jsonl:1"});
  metrics(good + "{\"event\":\"\xff\"}\n", {"metrics.jsonl:2"});

  const auto tensors = [&](const std::string& text, const std::vector<std::string>& words) {
    expect_bad(make_run(directory, fmt::format("t{}", ++count), {{"tensors.jsonl", text}}), words);
  };
  tensors("{\"step\":1}\n", {"tensors.jsonl:1", "'tensor' is missing"});
  tensors(tensor_line(1, "x", "gemm.input", 1, "3"), {"tensors.jsonl:1", "exponent_counts"});
  tensors(tensor_line(1, "x", "gemm.input", 1, "[-3]"), {"tensors.jsonl:1", "exponent_counts"});
  tensors(tensor_line(1, "x", "gemm.input", 100000), {"tensors.jsonl:1", "scale_exponent"});
  std::string many = "[0";
  for (int i = 0; i < 300; ++i) many += ",0";
  tensors(tensor_line(1, "x", "gemm.input", 1, many + "]"), {"tensors.jsonl:1", "exponent_counts"});

  expect_bad(make_run(directory, "c", {{"metrics.jsonl", good}, {"config.toml", "a = 1\nb = \n"}}),
             {"config.toml:2"});
  expect_bad(make_run(directory, "r", {{"metrics.jsonl", good}, {"recipe.toml", "="}}), {"recipe.toml:1"});
  expect_bad(
      make_run(directory, "e", {{"metrics.jsonl", good}, {"env.json", "{\"memory\":{\"weights\":\"x\"}}"}}),
      {"env.json", "memory.weights"});
  expect_bad(make_run(directory, "f", {{"metrics.jsonl", good}, {"env.json", "[]"}}), {"env.json", "object"});
}

}  // namespace
}  // namespace octavo
