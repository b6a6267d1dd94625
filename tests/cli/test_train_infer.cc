// SPDX-License-Identifier: Apache-2.0
// octavo compare --train-infer through the real program: figures, defaults, exit codes.
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"
#include "octavo/base/cpu.h"

namespace octavo {
namespace {

using nlohmann::json;

class TrainInfer : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(at("text.txt"), at("data"));
    const CommandResult result =
        octavo_command(tiny_run(at("data"), at("run"), {"--steps", "20", "--recipe", "bf16"}));
    ASSERT_EQ(result.code, 0) << result.err;
    // The same weights where no run is.
    fs::copy(at("run/final"), at("alone"));
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string at(const std::string& name) { return *directory_ / name; }
  static CommandResult check(const std::string& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> args{"compare", "--train-infer", at(model)};
    args.insert(args.end(), more.begin(), more.end());
    return octavo_command(args);
  }
  static json check_json(const std::string& model, std::vector<std::string> more, int code) {
    more.push_back("--json");
    const CommandResult result = check(model, more);
    EXPECT_EQ(result.code, code) << result.err;
    return json::parse(result.out);
  }

  static TemporaryDirectory* directory_;
};
TemporaryDirectory* TrainInfer::directory_ = nullptr;

TEST_F(TrainInfer, ExactServingIsIdenticalInAllThreeWays) {
  for (const char* recipe : {"", "fp32", "fp8-cscale"}) {
    std::vector<std::string> args{"--exact"};
    if (*recipe) args.insert(args.end(), {"--recipe", recipe});
    const json j = check_json("run", args, 0);
    EXPECT_EQ(j["recipe"], *recipe ? recipe : "bf16");  // the run's own
    EXPECT_EQ(j["exact"], true);
    EXPECT_EQ(j["identical"], true);
    EXPECT_EQ(j["seq_len"], 32);  // the model's context
    for (const char* way : {"whole", "pieces", "tokens"}) {
      EXPECT_EQ(j["served"][way]["rows"], 4 * 32);
      EXPECT_EQ(j["served"][way]["other_rows"], 0);
      EXPECT_EQ(j["served"][way]["max_logit_difference"], 0);
      EXPECT_EQ(j["served"][way]["other_argmax"], 0);
    }
  }
}

// What munit is for: served as it was trained, and from stored FP8 weights as well, without a flag.
TEST_F(TrainInfer, MunitIsServedExactlyByDefault) {
  const CommandResult trained =
      octavo_command(tiny_run(at("data"), at("munit"),
                              {"--steps", "20", "--recipe", "munit", "--set", "model.family=octavo", "--set",
                               "model.tied_head=false"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  const json j = check_json("munit", {}, 0);
  EXPECT_EQ(j["recipe"], "munit");
  EXPECT_EQ(j["exact"], true);
  EXPECT_EQ(j["identical"], true);
  const CommandResult quantized =
      octavo_command({"quantize", "--model", at("munit"), "--recipe", "munit", "--out", at("munit-e4m3")});
  ASSERT_EQ(quantized.code, 0) << quantized.err;
  EXPECT_EQ(check_json("munit-e4m3", {"--data", at("data")}, 0)["identical"], true);
  const std::vector<std::string> text{"generate",         "--prompt", "the",   "--greedy",
                                      "--max-new-tokens", "12",       "--json"};
  std::vector<std::string> one = text, other = text;
  one.insert(one.end(), {"--model", at("munit"), "--recipe", "munit"});
  other.insert(other.end(), {"--model", at("munit-e4m3")});
  const CommandResult a = octavo_command(one), b = octavo_command(other);
  ASSERT_EQ(a.code, 0) << a.err;
  EXPECT_EQ(json::parse(a.out)["text"], json::parse(b.out)["text"]);
}

TEST_F(TrainInfer, WhatDiffersIsReportedAndIsExitCode1) {
  if (max_isa() < Isa::avx512) GTEST_SKIP() << "one order only";
  const json j = check_json("run", {"--recipe", "fp32"}, 1);  // not exact by default
  EXPECT_EQ(j["exact"], false);
  EXPECT_EQ(j["identical"], false);
  EXPECT_EQ(j["served"]["whole"]["identical"], true);
  const json& tokens = j["served"]["tokens"];
  EXPECT_EQ(tokens["identical"], false);
  EXPECT_GT(tokens["other_rows"], 0);
  EXPECT_GT(tokens["max_logit_difference"], 0);
  EXPECT_LT(tokens["max_logit_difference"], 1e-4);

  const CommandResult table = check("run", {"--recipe", "fp32"});
  EXPECT_EQ(table.code, 1);
  for (const char* word : {"token by token", "identical", "differ", "mean KL", "validation data"})
    EXPECT_NE(table.out.find(word), std::string::npos) << word << "\n" << table.out;
}

TEST_F(TrainInfer, PartsOfARunBelongToItAndOthersNeedData) {
  EXPECT_EQ(check_json("run/final", {"--exact", "--sequences", "2", "--seq-len", "9"}, 0)["sequences"], 2);
  const CommandResult alone = check("alone");
  EXPECT_EQ(alone.code, 2);
  EXPECT_NE(alone.err.find("belongs to no run: say with --data"), std::string::npos) << alone.err;
  for (const char* data : {"data", "text.txt"})
    EXPECT_EQ(check_json("alone", {"--exact", "--data", at(data)}, 0)["data"], at(data));
  spill(at("short.txt"), "the old king");
  EXPECT_EQ(check("alone", {"--data", at("short.txt")}).code, 4);
}

TEST_F(TrainInfer, GenerationTakesTheFlagToo) {
  const auto generate = [&](const std::string& flag) {
    const CommandResult result =
        octavo_command({"generate", "--model", at("run"), "--prompt", "the old king", "--recipe", "fp32",
                        "--greedy", "--ignore-eos", "-n", "12", "--json", flag});
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out)["ids"];
  };
  const json exact = generate("--exact");
  EXPECT_EQ(exact.size(), 12u);
  EXPECT_EQ(generate("--no-exact"), exact);  // in FP32 the order of sums decides no word here
}

TEST_F(TrainInfer, FlagsOfTheTwoKindsOfComparisonDoNotMix) {
  EXPECT_EQ(check("run", {"--out", at("x")}).code, 2);
  EXPECT_EQ(check("nowhere").code, 4);
  const CommandResult result = octavo_command({"compare", "--recipes", "bf16", "--out", at("x")});
  EXPECT_EQ(result.code, 2);
  EXPECT_NE(result.err.find("--data is required"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace octavo
