// SPDX-License-Identifier: Apache-2.0
// octavo reduce on a model of a few steps.
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

using Json = nlohmann::json;

TEST(ReduceCommand, EverySchemeOfARun) {
  const TemporaryDirectory directory;
  prepare_data(directory / "text.txt", directory / "data");
  const std::string run = directory / "run", out = directory / "out";
  const CommandResult trained = octavo_command(
      tiny_run(directory / "data", run, {"--recipe", "fp8-lm-o2", "--steps", "20", "--threads", "1"}));
  ASSERT_EQ(trained.code, 0) << trained.err;
  const std::vector<std::string> args{
      "reduce",    "--model", run,         "--data", directory / "data", "--ranks", "2,4", "--steps", "50",
      "--seq-len", "32",      "--threads", "1",      "--json",           "--out",   out};
  const CommandResult result = octavo_command(args);
  ASSERT_EQ(result.code, 0) << result.err;
  const Json j = Json::parse(result.out);
  EXPECT_EQ(j["schema"], "octavo-reduce-1");
  EXPECT_EQ(j["tensors"], 8);
  EXPECT_EQ(j["elements"], 2 * 12 * 32 * 32);
  EXPECT_EQ(j["batches"],
            Json::parse(R"([{"ranks": 2, "distinct_steps": 4}, {"ranks": 4, "distinct_steps": 2}])"));
  ASSERT_EQ(j["rows"].size(), 30u);
  for (const Json& row : j["rows"]) {
    EXPECT_GT(row["snr_db"], 15) << row;
    EXPECT_LT(row["snr_db"], 45) << row;
    EXPECT_EQ(row["blocks"].size(), 2u);
  }
  for (size_t i = 0; i < 30; i += 5) {  // pre, then post
    EXPECT_LE(j["rows"][i]["overflow"], j["rows"][i + 1]["overflow"]);
    EXPECT_GE(j["rows"][i]["sent_underflow"], j["rows"][i + 1]["sent_underflow"]);
  }
  EXPECT_EQ(Json::parse(slurp(out + "/results.json")), j);
  for (const char* file : {"/snr.svg", "/underflow.svg", "/sent.svg", "/overflow.svg"})
    EXPECT_NE(slurp(out + file).find("</svg>"), std::string::npos) << file;
  EXPECT_NE(slurp(out + "/report.html").find("auto, absolute"), std::string::npos);
  // The same command gives the same figures.
  EXPECT_EQ(octavo_command(args).out, result.out);

  std::vector<std::string> refused = args;
  refused.insert(refused.end(), {"--recipe", "bf16"});
  const CommandResult wide = octavo_command(refused);
  EXPECT_EQ(wide.code, 3);
  EXPECT_NE(wide.err.find("fp8-lm-o1"), std::string::npos) << wide.err;
}

}  // namespace
}  // namespace octavo
