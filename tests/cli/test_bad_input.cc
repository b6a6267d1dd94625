// SPDX-License-Identifier: Apache-2.0
// Wrong input through the real program: the exit code of its kind, and one message that names the thing.
#include "cli/run_octavo.h"

namespace octavo {
namespace {

constexpr int kUsage = 2, kUnsupported = 3, kBadData = 4;

class BadInput : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(at("text.txt"), at("data"));
    const CommandResult result = octavo_command(tiny_run(at("data"), at("run"), {"--steps", "2"}));
    ASSERT_EQ(result.code, 0) << result.err;
  }
  static void TearDownTestSuite() { delete directory_; }
  static std::string at(const std::string& name) { return *directory_ / name; }
  static std::vector<std::string> run(const std::vector<std::string>& more) {
    return tiny_run(at("data"), at("fresh"), more);
  }

  static void expect(const std::vector<std::string>& args, int code, const std::vector<std::string>& words) {
    const CommandResult result = octavo_command(args);
    std::string line;
    for (const std::string& a : args) line += a + " ";
    EXPECT_EQ(result.code, code) << line << "\n" << result.err;
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << line << "\nwants: " << word << "\n"
                                                          << result.err;
    EXPECT_EQ(result.err.find("internal error"), std::string::npos) << line << "\n" << result.err;
    EXPECT_FALSE(fs::exists(at("fresh/config.toml"))) << line << " left a run behind";
    fs::remove_all(at("fresh"));
  }
  /// A copy of the trained model with one file replaced.
  static std::string model_with(const std::string& file, const std::string& content) {
    fs::remove_all(at("broken"));
    fs::copy(at("run/final"), at("broken"), fs::copy_options::recursive);
    fs::remove(at("broken/MANIFEST.json"));
    spill(at("broken/" + file), content);
    return at("broken");
  }

  static TemporaryDirectory* directory_;
};
TemporaryDirectory* BadInput::directory_ = nullptr;

TEST_F(BadInput, Texts) {
  const auto prepare = [&](const std::string& file) {
    fs::remove_all(at("out"));
    return std::vector<std::string>{"prepare", "--input", file, "--out", at("out"), "--vocab-size", "300"};
  };
  spill(at("empty.txt"), "");
  expect(prepare(at("empty.txt")), kBadData, {"empty.txt"});
  expect(prepare(at("absent.txt")), kBadData, {"absent.txt"});
  std::string garbage;
  for (uint64_t i = 0; i < 4000; ++i) garbage += static_cast<char>(Rng(1).integer(i));
  spill(at("garbage.txt"), garbage);
  const CommandResult binary = octavo_command(prepare(at("garbage.txt")));
  EXPECT_TRUE(binary.code == 0 || binary.code == kBadData) << binary.err;
  EXPECT_NE(binary.err.find(binary.code == 0 ? "not valid UTF-8" : "garbage.txt"), std::string::npos)
      << binary.err;
  spill(at("short.jsonl"), "{\"text\": \"fine\"}\n{\"text\": 3}\n");
  expect(prepare(at("short.jsonl")), kBadData, {"short.jsonl", "2"});
  expect({"prepare", "--input", at("text.txt"), "--out", at("out"), "--vocab-size", "10"}, kUsage, {"10"});
}

TEST_F(BadInput, CorporaThatDoNotFitTheModel) {
  expect(run({"--set", "model.context=5000000"}), kBadData, {"tokens"});
  expect(run({"--set", "model.vocab_size=100"}), kBadData, {"100"});
  expect(run({"--seq-len", "64"}), kUsage, {"64", "32"});
  expect(tiny_run(at("nowhere"), at("fresh")), kBadData, {"nowhere"});
  expect({"train", "--preset", "gpt-mini", "--out", at("fresh")}, kUsage, {"--train-data"});
  expect(tiny_run("\xff\xfe", at("fresh")), kBadData, {"no training data"});
}

TEST_F(BadInput, Numbers) {
  expect(run({"--steps", "0"}), kUsage, {"steps"});
  expect(run({"--steps", "many"}), kUsage, {"steps", "many"});
  expect(run({"--micro-batch", "9223372036854775807"}), kUsage, {"micro_batch"});
  expect(run({"--set", "model.width=1048576", "--set", "model.heads=1024"}), kUnsupported, {"memory"});
  expect(run({"--threads", "100000"}), kUsage, {"threads"});
  expect(run({"--set", "model.width=33"}), kBadData, {"width 33"});
  expect({"generate", "--model", at("run"), "--prompt", "the", "--threads", "1000000"}, kUsage,
         {"1000000 threads"});
  expect({"generate", "--model", at("run"), "--prompt", "the", "--top-p", "7"}, kUsage, {"--top-p"});
}

TEST_F(BadInput, NamesAreSuggested) {
  expect(run({"--recipe", "fp8-amx"}), kUsage, {"fp8-amx", "did you mean 'fp8-amax'"});
  expect({"train", "--preset", "gpt-mni", "--train-data", at("data")}, kUsage, {"did you mean 'gpt-mini'"});
  expect(run({"--set", "optim.lrr=1"}), kUsage, {"'optim.lrr'", "did you mean 'optim.lr'"});
  expect(run({"--step", "3"}), kUsage, {"--step", "--steps"});
  expect({"trian", "--preset", "gpt-mini"}, kUsage, {"trian", "train"});
  expect({"generate", "--model", at("run"), "--promt", "x"}, kUsage, {"--promt", "did you mean '--prompt'"});
  spill(at("my.toml"), "[optim]\nlr = 1e-3\nwarmup = 3\n");
  expect(run({"--config", at("my.toml")}), kUsage, {"my.toml:3", "'optim.warmup'"});
  spill(at("my_recipe.toml"), "[gemm]\nfromat = \"e4m3\"\n");
  expect(run({"--recipe", at("my_recipe.toml")}), kUsage, {"my_recipe.toml:2", "format"});
}

TEST_F(BadInput, ModelFiles) {
  const auto generate = [](const std::string& model) {
    return std::vector<std::string>{"generate", "--model", model, "--prompt", "the king", "-n", "2"};
  };
  EXPECT_EQ(octavo_command(generate(at("run"))).code, 0);
  expect(generate(at("nowhere")), kBadData, {"nowhere"});
  const std::string weights = slurp(at("run/final/model.safetensors")),
                    config = slurp(at("run/final/config.json"));
  expect(generate(model_with("model.safetensors", weights.substr(0, weights.size() / 2))), kBadData,
         {"model.safetensors"});
  expect(generate(model_with("model.safetensors", "")), kBadData, {"model.safetensors"});
  expect(generate(model_with("model.safetensors", std::string("\xff\xff\xff\xff\xff\xff\xff\x7f{}", 10))),
         kBadData, {"model.safetensors"});
  expect(generate(model_with("config.json", "{\"model_type\": ")), kBadData, {"config.json"});
  expect(generate(model_with("config.json", std::string(100000, '['))), kBadData, {"config.json"});
  expect(generate(model_with("config.json", "{\"model_type\": \"bert\"}")), kUnsupported,
         {"config.json", "bert"});
  const auto changed = [&](const std::string& from, const std::string& to) {
    std::string text = config;
    const size_t where = text.find(from);
    EXPECT_NE(where, std::string::npos) << from;
    text.replace(where, from.size(), to);
    return generate(model_with("config.json", text));
  };
  expect(changed("\"n_embd\": 32", "\"n_embd\": 64"), kBadData, {"wte.weight"});
  expect(changed("\"n_layer\": 2", "\"n_layer\": 3"), kBadData, {"h.2."});
  expect(changed("\"n_layer\": 2", "\"n_layer\": 1"), kBadData, {"h.1."});
  expect(changed("\"n_layer\": 2", "\"n_layer\": -2"), kBadData, {"layers", "-2"});
  expect(changed("\"n_head\": 2", "\"n_head\": 0"), kBadData, {"heads"});
  expect(changed("\"n_positions\": 32", "\"n_positions\": 9223372036854775807"), kBadData, {"context"});
}

TEST_F(BadInput, APromptLongerThanTheContext) {
  expect({"generate", "--model", at("run"), "--prompt", generated_text(60)}, kBadData,
         {"prompt", "context", "32"});
}

TEST_F(BadInput, RunDirectories) {
  const auto before = all_files(at("run"));
  expect(tiny_run(at("data"), at("run"), {"--steps", "2"}), kUsage, {at("run"), "--resume"});
  EXPECT_EQ(all_files(at("run")), before);
  expect({"train", "--resume", at("data")}, kBadData, {at("data"), "config.toml"});
  expect({"train", "--resume", at("nowhere")}, kBadData, {"nowhere"});
  expect({"train", "--resume", at("run"), "--preset", "gpt-mini"}, kUsage, {"--preset"});
  for (const std::vector<std::string>& other : {std::vector<std::string>{"--recipe", "fp32"},
                                                {"--recipe-set", "gemm.rounding=truncate"},
                                                {"--logical-ranks", "2"},
                                                {"--init", at("run")},
                                                {"--set", "recipe=fp32"}}) {
    std::vector<std::string> command{"train", "--resume", at("run")};
    command.insert(command.end(), other.begin(), other.end());
    expect(command, kUsage, {"a resumed run keeps its '"});
  }
  expect({"train", "--preset", "gpt-mini", "--train-data", at("data"), "--processes", "4"}, kUsage,
         {"--dry-run", "mpirun"});
  expect({"train"}, kUsage, {"--preset"});
}

TEST_F(BadInput, ALossThatIsNotANumberStopsTheRun) {
  const CommandResult result = octavo_command(tiny_run(
      at("data"), at("diverged"),
      {"--steps", "20", "--lr", "1e30", "--grad-clip", "0", "--save-every", "1", "--warmup-steps", "0"}));
  EXPECT_EQ(result.code, kBadData) << result.err;
  EXPECT_NE(result.err.find("nan"), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("checkpoint"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace octavo
