// SPDX-License-Identifier: Apache-2.0
// Ranks that are told different things, or one of which cannot go on: refused by name, and nothing is
// written.
#include "distributed/job.h"

namespace octavo {
namespace {

class ToldDifferently : public Jobs, public testing::WithParamInterface<std::string> {
 protected:
  void SetUp() override {
    if (!has_engine(GetParam())) GTEST_SKIP() << "no " << GetParam();
  }
  /// Two ranks with a command line each.
  static CommandResult launch_two(const std::vector<std::string>& first,
                                  const std::vector<std::string>& second) {
    std::vector<std::string> words = as_ranks(1, first);
    words.push_back(":");
    const std::vector<std::string> more = as_ranks(1, second);
    words.insert(words.end(), more.begin(), more.end());
    return launch(GetParam(), words);
  }
  /// Rank 1 has `more`, and `data` instead of the others' data; the job ends with `message`.
  static void expect_refused(const std::string& name, const std::vector<std::string>& more, int code,
                             const std::string& message, const std::string& data = at("data")) {
    SCOPED_TRACE(name);
    const std::string run = "refused-" + name;
    std::vector<std::string> second = run_of(run, 5, more);
    std::replace(second.begin(), second.end(), at("data"), data);
    const CommandResult result = launch_two(run_of(run, 5), second);
    EXPECT_EQ(result.code, code) << result.err;
    EXPECT_TRUE(contains(result, message)) << result.err;
    EXPECT_LT(result.seconds, 30);
    EXPECT_FALSE(fs::exists(at(run)));
  }
};

INSTANTIATE_TEST_SUITE_P(Distributed, ToldDifferently, testing::Values("openmpi", "mpich"),
                         [](const auto& engine) { return engine.param; });

TEST_P(ToldDifferently, AnotherConfigurationRecipeOrDataIsNamed) {
  prepare_data(at("other.txt"), at("other"), 9001);
  expect_refused("lr", {"--lr", "0.02"}, 2, ") has another configuration than rank 0 (host ");
  expect_refused("steps", {"--steps", "6"}, 2, "steps = 6 instead of steps = 5");
  expect_refused("recipe", {"--recipe", "bf16"}, 2, "recipe = 'bf16' instead of recipe = 'fp8-amax'");
  expect_refused("data", {}, 2, ") has another data than rank 0 (host ", at("other"));
}

TEST_P(ToldDifferently, AnErrorOfOneRankEndsTheJob) {
  expect_refused("missing", {}, 4, at("nowhere"), at("nowhere"));
  expect_refused("wrong", {"--recipe", "fp9"}, 2, "fp9");
}

TEST_P(ToldDifferently, ARankThatDoesNotResume) {
  const CommandResult first = launch(GetParam(), as_ranks(2, run_of("whole-" + GetParam(), 5)));
  ASSERT_EQ(first.code, 0) << first.err;
  const auto before = all_files(at("whole-" + GetParam()));
  const CommandResult result =
      launch_two({"train", "--resume", at("whole-" + GetParam())}, run_of("whole-" + GetParam(), 5));
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_TRUE(contains(result, "rank 1 (host ")) << result.err;
  EXPECT_TRUE(contains(result, "a new run instead of --resume")) << result.err;
  EXPECT_EQ(all_files(at("whole-" + GetParam())), before);
}

TEST_P(ToldDifferently, TheDoctorKnowsTheLauncher) {
  const std::string name = GetParam() == "openmpi" ? "Open MPI" : "MPICH";
  const CommandResult result = launch(GetParam(), as_ranks(2, {"doctor", "--threads", "1"}));
  EXPECT_EQ(result.code, 0) << result.err;
  EXPECT_TRUE(contains(result, "started by   a launcher of " + name)) << result.err;
  EXPECT_TRUE(contains(result, "lib/octavo/comm-" + GetParam() + ".so\n")) << result.err;
  const CommandResult alone = octavo_command({"doctor", "--threads", "1"});
  EXPECT_NE(alone.out.find("started by   no launcher"), std::string::npos) << alone.out;
}

TEST_P(ToldDifferently, RanksThatCannotBeDivided) {
  const CommandResult result = launch(GetParam(), as_ranks(4, run_of("six", 5, {"--logical-ranks", "6"})));
  EXPECT_EQ(result.code, 2) << result.err;
  EXPECT_TRUE(contains(result, "parallel.logical_ranks is 6, which cannot be divided among 4 processes"))
      << result.err;
  EXPECT_FALSE(fs::exists(at("six")));
}

}  // namespace
}  // namespace octavo
