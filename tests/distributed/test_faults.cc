// SPDX-License-Identifier: Apache-2.0
// Ranks that die, freeze or are told to stop at a random moment: the job ends by itself and says why, and the
// resumed run ends with the bytes of one that nothing happened to. OCTAVO_TEST_SEED repeats a moment.
#include <random>
#include <regex>

#include "distributed/job.h"
#include "octavo/base/rng.h"

namespace octavo {
namespace {

constexpr int kSteps = 80;

class Faults : public Jobs, public testing::WithParamInterface<std::string> {
 protected:
  static void SetUpTestSuite() {
    Jobs::SetUpTestSuite();
    alone(run_of("undisturbed", kSteps, kRecipe));
  }
  void SetUp() override {
    if (!has_engine(GetParam())) GTEST_SKIP() << "no " << GetParam();
    const char* given = std::getenv("OCTAVO_TEST_SEED");
    seed_ = given ? std::strtoull(given, nullptr, 10) : std::random_device()();
    std::printf("OCTAVO_TEST_SEED=%llu\n", static_cast<unsigned long long>(seed_));
  }
  int random(uint64_t index, int below) const {
    return static_cast<int>(Rng(seed_).integer(index) % static_cast<uint64_t>(below));
  }

  /// A job of four ranks, one of which gets `signal` at a random moment. `rank` -1: the launcher gets it.
  CommandResult disturb(const std::string& name, int signal, int rank, const std::vector<std::string>& more) {
    std::vector<std::string> args = run_of(name, kSteps, kRecipe);
    args.insert(args.end(), more.begin(), more.end());
    return launch(GetParam(), as_ranks(4, args), [&](pid_t launcher) {
      // Beyond the first checkpoint, and long before the end.
      if (!wait_for_step(launcher, at(name), 4 + random(1, kSteps / 4))) {
        ADD_FAILURE() << "the job ended by itself";
        return;
      }
      sleep_seconds(random(2, 30) * 1e-3);
      if (rank < 0) {
        ::kill(launcher, signal);
        return;
      }
      const std::map<int, pid_t> pids = ranks_of(at(name));
      ASSERT_TRUE(pids.count(rank)) << pids.size() << " ranks are there";
      ::kill(pids.at(rank), signal);
    });
  }

  /// From where it was left, on `processes`, in a directory of its own; 1: without a launcher.
  void resume(const std::string& name, int processes) {
    SCOPED_TRACE("resumed by " + std::to_string(processes));
    const std::string copy = name + "-by-" + std::to_string(processes);
    fs::copy(at(name), at(copy), fs::copy_options::recursive);
    const std::vector<std::string> args{"train", "--resume", at(copy), "--deadline", "60"};
    const CommandResult result =
        processes == 1 ? octavo_command(args) : launch(GetParam(), as_ranks(processes, args));
    ASSERT_EQ(result.code, 0) << result.err;
    EXPECT_TRUE(contains(result, "resumed  ")) << result.err;
    expect_same_bytes("undisturbed", copy);
  }

  static inline const std::vector<std::string> kRecipe{"--recipe", "fp8-lm-o2", "--zero", "1"};
  uint64_t seed_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Distributed, Faults, testing::Values("openmpi", "mpich"),
                         [](const auto& engine) { return engine.param; });

/// Whether a message says that something waits for that rank, and in which operation.
bool names(const CommandResult& result, const std::string& verb, int rank) {
  const std::string who = "rank " + std::to_string(rank) + " \\(host ";
  return std::regex_search(
      result.err, std::regex("rank \\d of 4 \\(host [^)]+\\): .*(" + verb + ").* (for|to) .*" + who));
}

TEST_P(Faults, AKilledRank) {
  const int rank = random(0, 4);
  const CommandResult result = disturb("killed-" + GetParam(), SIGKILL, rank, {});
  EXPECT_NE(result.code, 0) << result.err;
  EXPECT_NE(result.code, 130) << result.err;
  // MPICH kills the others at once and its launcher names the signal, unless UCX of another rank was reading
  // from the dead one just then and ends its process.
  if (GetParam() == "openmpi")
    EXPECT_TRUE(names(result, "told to stop while|failed, waiting", rank)) << rank << "\n" << result.err;
  else
    EXPECT_TRUE(contains(result, "Killed (signal 9)") || contains(result, "No such process")) << result.err;
  for (const int processes : {4, 2, 1}) resume("killed-" + GetParam(), processes);
}

TEST_P(Faults, AStoppedRank) {
  const int rank = random(0, 4);
  const CommandResult result = disturb("stopped-" + GetParam(), SIGSTOP, rank, {"--deadline", "6"});
  EXPECT_EQ(result.code, 5) << result.err;
  EXPECT_TRUE(names(result, "has waited [6-9]", rank)) << rank << "\n" << result.err;
  resume("stopped-" + GetParam(), 4);
}

TEST_P(Faults, AStopThatSaves) {
  const CommandResult result = disturb("interrupted-" + GetParam(), SIGUSR1, -1, {});
  EXPECT_EQ(result.code, 130) << result.err;
  EXPECT_TRUE(contains(result, "interrupted after step ")) << result.err;
  EXPECT_TRUE(contains(result, "continue with: octavo train --resume ")) << result.err;
  for (const int processes : {4, 2}) resume("interrupted-" + GetParam(), processes);
}

}  // namespace
}  // namespace octavo
