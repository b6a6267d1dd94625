// SPDX-License-Identifier: Apache-2.0
// Fine-tuning through the real program: from files of examples to a model that answers better.
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"
#include "shared_data.h"

namespace octavo {
namespace {

using nlohmann::json;

std::vector<json> json_lines(const std::string& path) {
  std::vector<json> lines;
  std::istringstream text(slurp(path));
  for (std::string line; std::getline(text, line);) lines.push_back(json::parse(line));
  return lines;
}

CommandResult succeed(const std::vector<std::string>& args) {
  CommandResult result = octavo_command(args);
  EXPECT_EQ(result.code, 0) << result.err;
  return result;
}

class FineTuning : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(at("text.txt"), at("data"));
    std::string examples, labelled = "sentence\tlabel\n";
    for (uint64_t i = 0; i < 60; ++i) {
      const std::string asked = generated_text(2 + static_cast<int>(i % 5), i),
                        answered = generated_text(1 + static_cast<int>(i % 9), 100 + i);
      examples += json{{"question", asked}, {"answer", answered}}.dump() + "\n";
      labelled +=
          "the old king " + std::string(i % 2 ? "sang" : "burn") + "\t" + std::to_string(i % 2) + "\n";
    }
    spill(at("examples.jsonl"), examples);
    spill(at("labelled.tsv"), labelled);
    succeed({"prepare", "--sft", at("examples.jsonl"), "--template", "plain", "--tokenizer", at("data"),
             "--out", at("sft"), "--val-fraction", "0.2"});
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string at(const std::string& name) { return *directory_ / name; }
  static void expect_error(const std::vector<std::string>& args, int code, const std::string& words) {
    const CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_NE(result.err.find(words), std::string::npos) << "wants: " << words << "\n" << result.err;
  }

  static TemporaryDirectory* directory_;
};
TemporaryDirectory* FineTuning::directory_ = nullptr;

TEST_F(FineTuning, AccumulationDoesNotChangeTheMean) {
  const auto run = [&](const std::string& name, const char* batch, const char* accum) {
    succeed(tiny_run(at("sft"), at(name),
                     {"--micro-batch", batch, "--grad-accum", accum, "--steps", "5", "--recipe", "fp32",
                      "--packing", "single", "--grad-clip", "0"}));
    return json_lines(at(name) + "/metrics.jsonl");
  };
  const std::vector<json> whole = run("whole", "4", "1"), parts = run("parts", "1", "4");
  ASSERT_EQ(whole.size(), parts.size());
  int64_t counted = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    if (whole[i]["event"] != "step") continue;  // an evaluation reads other samples by the micro-batch
    EXPECT_NEAR(whole[i]["loss"].get<double>(), parts[i]["loss"].get<double>(), 1e-4);
    EXPECT_EQ(whole[i]["counted"], parts[i]["counted"]);
    EXPECT_NEAR(whole[i]["grad_norm"].get<double>(), parts[i]["grad_norm"].get<double>(),
                2e-4 * whole[i]["grad_norm"].get<double>());
    counted += whole[i]["counted"].get<int64_t>();
    EXPECT_EQ(whole[i]["tokens"], counted);
    EXPECT_LT(whole[i]["counted"], 4 * 32);
  }
}

TEST_F(FineTuning, AVerbalizerIsLearnedAndScored) {
  succeed({"prepare", "--classification", at("labelled.tsv"), "--tokenizer", at("data"), "--out", at("cls")});
  succeed(
      tiny_run(at("cls"), at("classifier"), {"--steps", "200", "--recipe", "bf16", "--packing", "single"}));
  fs::create_directories(at("tasks/sst2"));
  fs::copy_file(at("labelled.tsv"), at("tasks/sst2/test.tsv"));
  const json result = json::parse(
      succeed({"eval", "--model", at("classifier"), "--tasks", "sst2", "--task-data", at("tasks"), "--json"})
          .out);
  EXPECT_EQ(result["tasks"]["sst2"]["items"], 60);
  EXPECT_EQ(result["tasks"]["sst2"]["acc"], 1.0);
}

TEST_F(FineTuning, Errors) {
  expect_error({"prepare", "--out", at("x")}, 2, "one of --input, --sft and --classification");
  expect_error({"prepare", "--input", at("text.txt"), "--sft", at("examples.jsonl"), "--out", at("x")}, 2,
               "one of --input");
  expect_error({"prepare", "--sft", at("examples.jsonl"), "--out", at("x")}, 2, "--tokenizer");
  expect_error({"prepare", "--sft", at("examples.jsonl"), "--tokenizer", at("data"), "--out", at("x"),
                "--template", "chatmk"},
               2, "did you mean 'chatml'");
  expect_error({"prepare", "--sft", at("examples.jsonl"), "--tokenizer", at("data"), "--out", at("x"),
                "--format", "llmc"},
               2, "--format is for --input");
  expect_error({"prepare", "--sft", at("examples.jsonl"), "--tokenizer", at("data"), "--out", at("x"),
                "--verbalizer", " a"},
               2, "needs --classification");
  spill(at("bad.jsonl"), "{\"question\": \"a\", \"answer\": \"b\"}\n{\"question\": \"a\"}\n");
  expect_error({"prepare", "--sft", at("bad.jsonl"), "--tokenizer", at("data"), "--out", at("x")}, 4,
               "bad.jsonl:2");
  spill(at("bad.tsv"), "sentence\tlabel\na\t1\nb\t3\n");
  expect_error({"prepare", "--classification", at("bad.tsv"), "--tokenizer", at("data"), "--out", at("x")}, 4,
               "bad.tsv:3");
  EXPECT_FALSE(fs::exists(at("x")));
  const CommandResult cut = succeed(tiny_run(at("sft"), at("cut"), {"--seq-len", "12", "--steps", "1"}));
  EXPECT_NE(cut.err.find("of 48 examples are longer than the 12 tokens of a sequence and were cut"),
            std::string::npos)
      << cut.err;
  expect_error(tiny_run(at("sft"), at("y"), {"--packing", "double"}), 2, "unknown packing 'double'");
}

TEST_F(FineTuning, AnswersOfAlpacaGetLikelier) {
  const auto model = shared_data("model-tinystories-656k"),
             alpaca = shared_data("sft-alpaca-demo/alpaca_en_demo.json");
  if (!model || !alpaca) GTEST_SKIP() << "no shared data";
  json few = json::array();
  for (const json& example : json::parse(slurp(*alpaca)))
    if (example["output"].get<std::string>().size() < 200 && few.size() < 24) few.push_back(example);
  spill(at("alpaca.json"), few.dump(1));
  succeed({"prepare", "--sft", at("alpaca.json"), "--tokenizer", *model, "--out", at("alpaca"),
           "--val-fraction", "0"});
  const auto loss = [&](const std::string& of) {
    const json j = json::parse(
        succeed({"eval", "--model", of, "--data", at("alpaca"), "--seq-len", "256", "--json"}).out);
    EXPECT_FALSE(j.contains("bits_per_byte"));
    return j["loss"].get<double>();
  };
  const double before = loss(*model);
  succeed({"train",    "--init",    *model,     "--train-data",  at("alpaca"), "--recipe",
           "fp8-amax", "--seq-len", "256",      "--micro-batch", "2",          "--steps",
           "24",       "--lr",      "2e-3",     "--min-lr",      "2e-4",       "--warmup-steps",
           "2",        "--out",     at("tuned")});
  EXPECT_LT(loss(at("tuned")), before - 1);
  for (const json& line : json_lines(at("tuned") + "/metrics.jsonl"))
    if (line["event"] == "step") {
      EXPECT_GT(line["counted"], 0);
      EXPECT_LT(line["counted"], 2 * 256);
    }
}

}  // namespace
}  // namespace octavo
