// SPDX-License-Identifier: Apache-2.0
// The promise: what a run computes depends on its logical ranks, not on processes, engines or ZeRO.
#include <nlohmann/json.hpp>

#include "distributed/job.h"

namespace octavo {
namespace {

class SameBytes : public Jobs {};

TEST_F(SameBytes, OfBothEnginesAndOneProcess) {
  const bool any = has_engine("openmpi") || has_engine("mpich");
  if (!any) GTEST_SKIP() << "no MPI";
  for (const std::string recipe : {"bf16", "fp8-lm-o2"}) {
    const std::string one = recipe + "-one";
    alone(run_of(one, 7, {"--recipe", recipe}));
    for (const std::string engine : {"openmpi", "mpich"}) {
      if (!has_engine(engine)) continue;
      for (const std::string zero : {"0", "1", "2", "3"}) {
        SCOPED_TRACE(recipe + " " + engine + " --zero " + zero);
        const std::string name = recipe + "-" + engine + "-" + zero;
        const CommandResult result =
            launch(engine, as_ranks(4, run_of(name, 7, {"--recipe", recipe, "--zero", zero})));
        ASSERT_EQ(result.code, 0) << result.err;
        EXPECT_TRUE(contains(result, "4 on 4 processes, ZeRO " + zero)) << result.err;
        expect_same_bytes(one, name);
      }
    }
  }
}

// What was said of a step beforehand is what was sent in each.
TEST_F(SameBytes, TheTrafficOfEachStepIsWrittenDown) {
  if (!has_engine("openmpi")) GTEST_SKIP() << "no Open MPI";
  std::map<std::string, nlohmann::json> sent;
  for (const std::string recipe : {"bf16", "fp8-lm-o2"}) {
    const CommandResult result =
        launch("openmpi", as_ranks(4, run_of("traffic-" + recipe, 3, {"--recipe", recipe, "--zero", "1"})));
    ASSERT_EQ(result.code, 0) << result.err;
    std::istringstream lines(slurp(at("traffic-" + recipe + "/metrics.jsonl")));
    for (std::string line; std::getline(lines, line);) {
      const nlohmann::json j = nlohmann::json::parse(line);
      if (j["event"] != "step") continue;
      if (sent[recipe].is_null()) sent[recipe] = j["sent_bytes"];
      EXPECT_EQ(j["sent_bytes"], sent[recipe]);
    }
  }
  // 8 bits instead of 16 for each element of a matrix, and scales that the ranks agree on.
  EXPECT_LT(sent["fp8-lm-o2"]["weight_grad"], 0.6 * sent["bf16"]["weight_grad"].get<double>());
  EXPECT_GT(sent["fp8-lm-o2"]["scale"], 0);
  EXPECT_EQ(sent["bf16"]["scale"], 0);
}

}  // namespace
}  // namespace octavo
