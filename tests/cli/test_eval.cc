// SPDX-License-Identifier: Apache-2.0
// octavo eval on tasks and texts through the real program: figures, files it writes, exit codes.
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

using nlohmann::json;

class Eval : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(at("text.txt"), at("data"));
    const CommandResult result = octavo_command(tiny_run(at("data"), at("run"), {"--steps", "20"}));
    ASSERT_EQ(result.code, 0) << result.err;
    fs::create_directories(at("tasks/blimp"));
    fs::create_directories(at("tasks/piqa"));
    fs::create_directories(at("tasks/lambada"));
    std::string pairs, questions, labels, passages;
    for (int i = 0; i < 12; ++i) {
      const std::string a = generated_text(3, static_cast<uint64_t>(i)),
                        b = generated_text(4, static_cast<uint64_t>(50 + i));
      pairs += json{{"sentence_good", a}, {"sentence_bad", b}}.dump() + "\n";
      questions += json{{"goal", "x"}, {"sol1", a}, {"sol2", b}}.dump() + "\n";
      labels += i % 2 ? "1\n" : "0\n";
      passages += json{{"text", a + "sea"}}.dump() + "\n";
    }
    spill(at("tasks/blimp/one.jsonl"), pairs);
    spill(at("tasks/blimp/two.jsonl"), pairs);
    spill(at("tasks/piqa/valid.jsonl"), questions);
    spill(at("tasks/piqa/valid-labels.lst"), labels);
    spill(at("tasks/lambada/test.jsonl"), passages);
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string at(const std::string& name) { return *directory_ / name; }
  static CommandResult eval(const std::vector<std::string>& more) {
    std::vector<std::string> args{"eval", "--model", at("run")};
    args.insert(args.end(), more.begin(), more.end());
    return octavo_command(args);
  }
  static json eval_json(std::vector<std::string> more) {
    more.push_back("--json");
    const CommandResult result = eval(more);
    EXPECT_EQ(result.code, 0) << result.err;
    return json::parse(result.out);
  }
  static void expect_error(const std::vector<std::string>& args, int code, const std::string& words) {
    const CommandResult result = eval(args);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(words), std::string::npos) << "wants: " << words << "\n" << result.err;
    EXPECT_EQ(result.out, "");
  }

  static TemporaryDirectory* directory_;
};
TemporaryDirectory* Eval::directory_ = nullptr;

TEST_F(Eval, TasksInJsonAndInLines) {
  const std::vector<std::string> args{"--tasks",     "blimp,piqa,lambada_openai",
                                      "--task-data", at("tasks"),
                                      "--recipe",    "fp32",
                                      "--log-items", at("items.jsonl")};
  const json j = eval_json(args);
  EXPECT_EQ(j["batch"], 16);
  const json& blimp = j["tasks"]["blimp"];
  EXPECT_EQ(blimp["items"], 24);
  EXPECT_EQ(blimp["groups"]["one"]["acc"], blimp["groups"]["two"]["acc"]);
  EXPECT_EQ(blimp["acc"], blimp["groups"]["one"]["acc"]);
  EXPECT_TRUE(j["tasks"]["piqa"].contains("acc_norm_stderr"));
  EXPECT_GT(j["tasks"]["lambada_openai"]["perplexity"], 1.0);

  // The figures follow from the items.
  int64_t lines = 0, right = 0, pairs_right = 0;
  double log_likelihood = 0;
  std::istringstream file(slurp(at("items.jsonl")));
  for (std::string line; std::getline(file, line); ++lines) {
    const json item = json::parse(line);
    if (item["task"] == "piqa") right += item["choice"] == item["gold"];
    if (item["task"] == "blimp") pairs_right += item["log_likelihood"][0] >= item["log_likelihood"][1];
    if (item["task"] == "lambada_openai") log_likelihood += item["log_likelihood"][0].get<double>();
  }
  EXPECT_EQ(lines, 48);
  EXPECT_DOUBLE_EQ(j["tasks"]["piqa"]["acc"].get<double>(), static_cast<double>(right) / 12);
  EXPECT_DOUBLE_EQ(blimp["acc"].get<double>(), static_cast<double>(pairs_right) / 24);
  EXPECT_NEAR(j["tasks"]["lambada_openai"]["perplexity"].get<double>(), std::exp(-log_likelihood / 12), 1e-9);

  const CommandResult table = eval(args);
  EXPECT_EQ(table.code, 0);
  for (const char* word : {"blimp", "  one", "piqa", "acc_norm", "perplexity"})
    EXPECT_NE(table.out.find(word), std::string::npos) << table.out;
}

TEST_F(Eval, OneTaskDoesNotDependOnTheOthersNorOnThreads) {
  const json together =
      eval_json({"--tasks", "blimp,piqa", "--task-data", at("tasks"), "--recipe", "fp8-amax"});
  const json alone =
      eval_json({"--tasks", "piqa", "--task-data", at("tasks"), "--recipe", "fp8-amax", "--threads", "1"});
  EXPECT_EQ(together["tasks"]["piqa"], alone["tasks"]["piqa"]);
  const json limited = eval_json({"--tasks", "blimp", "--task-data", at("tasks"), "--limit", "5"});
  EXPECT_EQ(limited["tasks"]["blimp"]["items"], 10);
}

TEST_F(Eval, Text) {
  const json whole = eval_json({"--text", at("text.txt"), "--recipe", "fp32", "--stride", "16"})["text"];
  EXPECT_EQ(whole["seq_len"], 32);
  EXPECT_EQ(whole["scored_tokens"].get<int64_t>() + 1, whole["tokens"].get<int64_t>());
  EXPECT_EQ(whole["words"], 9000);
  EXPECT_EQ(whole["bytes"], static_cast<int64_t>(fs::file_size(at("text.txt"))));
  const json apart = eval_json({"--text", at("text.txt"), "--recipe", "fp32"})["text"];
  EXPECT_LT(apart["scored_tokens"], whole["scored_tokens"]);
  EXPECT_NEAR(whole["loss"].get<double>(), apart["loss"].get<double>(), 0.1);
  EXPECT_EQ(eval({"--text", at("text.txt")}).code, 0);
}

TEST_F(Eval, Comparisons) {
  const std::vector<std::string> args{
      "--compare",   "fp32",      "fp8-amax", "--tasks",      "blimp,lambada_openai",
      "--task-data", at("tasks"), "--text",   at("text.txt"), "--resamples",
      "200"};
  const json j = eval_json(args);
  EXPECT_EQ(j["b"]["recipe"], "fp8-amax");
  const json& acc = j["tasks"]["blimp"]["acc"];
  EXPECT_DOUBLE_EQ(acc["difference"].get<double>(), acc["b"].get<double>() - acc["a"].get<double>());
  EXPECT_LE(acc["low"], acc["high"]);
  EXPECT_DOUBLE_EQ((acc["gained"].get<double>() - acc["lost"].get<double>()) / 24,
                   acc["difference"].get<double>());
  EXPECT_TRUE(j["tasks"]["lambada_openai"]["perplexity"].contains("low"));
  EXPECT_GT(j["text"]["kl"]["mean"], 0.0);
  EXPECT_LE(j["text"]["kl"]["p99"], j["text"]["kl"]["max"]);
  EXPECT_GT(j["text"]["top1_agreement"], 0.5);
  json again = eval_json(args);
  EXPECT_EQ(again["text"], j["text"]);
  EXPECT_EQ(again["tasks"], j["tasks"]);
  const CommandResult table = eval(args);
  EXPECT_NE(table.out.find("KL(a || b)"), std::string::npos) << table.out;
  const json same =
      eval_json({"--model-b", at("run/final"), "--recipe", "fp32", "--text", at("text.txt")})["text"];
  EXPECT_EQ(same["kl"]["max"], 0.0);
  EXPECT_EQ(same["loss"]["difference"], 0.0);
}

TEST_F(Eval, Errors) {
  expect_error({}, 2, "give --data, --text or --tasks");
  expect_error({"--tasks", "piqa"}, 2, "--task-data");
  expect_error({"--tasks", "piqua", "--task-data", at("tasks")}, 2, "did you mean 'piqa'");
  expect_error({"--tasks", "piqa,piqa", "--task-data", at("tasks")}, 2, "named twice");
  expect_error({"--tasks", "arc_easy", "--task-data", at("tasks")}, 4, "no folder eval-arc-easy");
  expect_error({"--text", at("absent")}, 4, "absent");
  expect_error({"--text", at("text.txt"), "--stride", "33"}, 2, "--stride is 33");
  expect_error({"--text", at("text.txt"), "--seq-len", "64"}, 2, "64");
  expect_error({"--compare", "bf16", "fp8-amx", "--text", at("text.txt")}, 2, "did you mean 'fp8-amax'");
  expect_error({"--compare", "bf16", "fp32", "--data", at("data")}, 2, "not --data");
  spill(at("empty.txt"), "");
  expect_error({"--text", at("empty.txt")}, 4, "nothing to score");
  fs::create_directories(at("bad/piqa"));
  spill(at("bad/piqa/valid.jsonl"), "{\"goal\": \"x\", \"sol1\": \"a\", \"sol2\": \"b\"}\n{\"goal\": 1}\n");
  spill(at("bad/piqa/valid-labels.lst"), "0\n1\n");
  expect_error({"--tasks", "piqa", "--task-data", at("bad")}, 4, "valid.jsonl:2: key 'goal'");
  spill(at("bad/piqa/valid.jsonl"), json{{"goal", "x"}, {"sol1", generated_text(60)}, {"sol2", "b"}}.dump());
  spill(at("bad/piqa/valid-labels.lst"), "0\n");
  expect_error({"--tasks", "piqa", "--task-data", at("bad")}, 4, "valid.jsonl:1: the continuation has");
}

}  // namespace
}  // namespace octavo
