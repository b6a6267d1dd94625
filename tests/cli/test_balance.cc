// SPDX-License-Identifier: Apache-2.0
// octavo balance: shapes in, loads out, and what it says to nonsense.
#include <nlohmann/json.hpp>

#include "cli/run_octavo.h"

namespace octavo {
namespace {

using Json = nlohmann::json;

TEST(BalanceCommand, LoadsOfAPreset) {
  const TemporaryDirectory directory;
  const CommandResult result =
      octavo_command({"balance", "--models", "gpt-mini,gpt-mini/tp2", "--set", "model.width=64", "--set",
                      "model.heads=4", "--set", "model.layers=3", "--vocab-size", "500", "--ranks", "1,3",
                      "--svg", directory / "b.svg", "--json"});
  ASSERT_EQ(result.code, 0) << result.err;
  const Json j = Json::parse(result.out);
  EXPECT_EQ(j["schema"], "octavo-balance-1");
  ASSERT_EQ(j["models"].size(), 2u);
  const Json& rows = j["models"][0]["rows"];
  EXPECT_EQ(rows[0]["bytes"]["most"], j["models"][0]["bytes"]);
  EXPECT_EQ(rows[0]["bytes"]["imbalance"], 1.0);
  EXPECT_LE(3 * rows[1]["bytes"]["least"].get<double>(), j["models"][0]["bytes"].get<double>());
  EXPECT_GE(3 * rows[1]["bytes"]["most"].get<double>(), j["models"][0]["bytes"].get<double>());
  EXPECT_LT(j["models"][1]["bytes"], j["models"][0]["bytes"]);
  EXPECT_NE(slurp(directory / "b.svg").find("</svg>"), std::string::npos);
}

TEST(BalanceCommand, NamesWhatIsWrong) {
  const std::vector<std::pair<std::vector<std::string>, std::string>> cases{
      {{"--models", "fp8-lm-7c"}, "fp8-lm-7b"},
      {{"--models", "fp8-lm-7b/zp2"}, "NAME/tp8"},
      {{"--models", "fp8-lm-7b/pp5"}, "5 stages"},
      {{"--set", "train.steps=3"}, "model.*"},
      {{"--ranks", "0"}, "--ranks"},
      {{"--recipe", "fp8-lm-o9"}, "fp8-lm-o"}};
  for (const auto& [more, word] : cases) {
    std::vector<std::string> args{"balance"};
    args.insert(args.end(), more.begin(), more.end());
    const CommandResult result = octavo_command(args);
    EXPECT_EQ(result.code, 2) << word;
    EXPECT_NE(result.err.find(word), std::string::npos) << result.err;
  }
}

}  // namespace
}  // namespace octavo
