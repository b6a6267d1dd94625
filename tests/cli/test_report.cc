// SPDX-License-Identifier: Apache-2.0
// From octavo train to octavo report through the files between them.
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

class ReportCommand : public ::testing::Test {
 public:
  static void SetUpTestSuite() {
    directory_ = new TemporaryDirectory;
    prepare_data(at("text.txt"), at("data"));
    for (const std::string recipe : {"bf16", "fp8-amax"})
      ASSERT_EQ(octavo_command(tiny_run(at("data"), at(recipe),
                                        {"--steps", "20", "--log-tensors", "5", "--eval-every", "5",
                                         "--profile", "--recipe", recipe}))
                    .code,
                0);
  }
  static void TearDownTestSuite() { delete directory_; }

 protected:
  static std::string at(const std::string& name) { return *directory_ / name; }
  static TemporaryDirectory* directory_;
};
TemporaryDirectory* ReportCommand::directory_ = nullptr;

TEST_F(ReportCommand, TheDocumentHoldsWhatTrainingWrote) {
  const CommandResult result = octavo_command({"report", at("bf16"), at("fp8-amax"), "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["schema"], "octavo-report-1");
  const auto &bf16 = json["runs"][0], &fp8 = json["runs"][1];
  EXPECT_EQ(bf16["baseline"], true);
  EXPECT_TRUE(bf16["missing"].contains("tensors"));
  EXPECT_TRUE(fp8["missing"].empty()) << fp8["missing"];
  EXPECT_EQ(fp8["recipe"]["name"], "fp8-amax");
  EXPECT_EQ(fp8["figures"]["steps"], 20);
  EXPECT_EQ(fp8["figures"]["val_step"], 20);
  EXPECT_TRUE(fp8["figures"]["val_delta"].is_number());
  EXPECT_GT(fp8["figures"]["peak_resident"], 1 << 20);
  EXPECT_GT(fp8["figures"]["parameters"], 10000);
  EXPECT_GT(fp8["memory"]["weights"], 40000);
  EXPECT_GT(fp8["profile_ms"]["gemm"], 0);
  EXPECT_EQ(fp8["tensors"]["steps"], (std::vector<int>{1, 6, 11, 16}));
  EXPECT_EQ(fp8["tensors"]["rows"].size(), 24u);  // 2 blocks, 4 linear layers, 3 roles
  EXPECT_TRUE(json["formats"].contains("e5m2"));
  // Every element of a weight is counted once: 32 inputs x 96 outputs of q, k and v.
  int64_t counted = 0;
  const auto& histogram = fp8["tensors"]["rows"][0]["histograms"][0];
  for (size_t i = 1; i < histogram.size(); ++i) counted += histogram[i].get<int64_t>();
  EXPECT_EQ(counted, 32 * 96);
}

TEST_F(ReportCommand, WritesThePageAndThePictures) {
  const CommandResult result =
      octavo_command({"report", at("fp8-amax"), "--out", at("r.html"), "--svg", at("figures")});
  ASSERT_EQ(result.code, 0) << result.err;
  EXPECT_NE(result.out.find(at("r.html")), std::string::npos) << result.out;
  EXPECT_NE(slurp(at("r.html")).find("octavo-report-1"), std::string::npos);
  EXPECT_NE(slurp(at("figures/loss.svg")).find("<svg"), std::string::npos);
  EXPECT_NE(slurp(at("figures/scales-fp8-amax.svg")).find("<svg"), std::string::npos);
}

TEST_F(ReportCommand, BadInput) {
  const auto expect = [](const std::vector<std::string>& args, int code,
                         const std::vector<std::string>& words) {
    const CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, code) << result.err;
    for (const std::string& word : words)
      EXPECT_NE(result.err.find(word), std::string::npos) << word << "\n" << result.err;
  };
  expect({"report"}, 2, {"runs"});
  expect({"report", at("nowhere")}, 4, {"nowhere"});
  expect({"report", at("data")}, 4, {at("data"), "metrics.jsonl"});
  fs::create_directories(at("broken"));
  spill(at("broken/metrics.jsonl"), "{\"event\":\"step\",\"step\":1}\n{\"event\":\"step\",\"step\":\n");
  expect({"report", at("broken"), "--out", at("b.html")}, 4, {"broken/metrics.jsonl:2"});
  EXPECT_FALSE(fs::exists(at("b.html")));
  expect({"report", at("fp8-amax"), "--out", at("no/such/place.html")}, 4, {"no/such/place.html"});
  expect({"report", at("fp8-amax"), "--svg", at("text.txt")}, 4, {"text.txt"});
}

}  // namespace
}  // namespace octavo
