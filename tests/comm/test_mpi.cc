// SPDX-License-Identifier: Apache-2.0
// comm_program under the launchers of both MPIs, on one machine. Skipped where a launcher or its plugin is
// not there.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "comm/run_shell.h"

namespace octavo {
namespace {

namespace fs = std::filesystem;

class Mpi : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const std::string launcher = "mpirun." + GetParam();
    if (std::system(("command -v " + launcher + " >/dev/null 2>&1").c_str()) != 0)
      GTEST_SKIP() << "no " << launcher;
    const fs::path plugin = fs::path(OCTAVO_COMM_PROGRAM).parent_path().parent_path() / "lib/octavo" /
                            ("comm-" + GetParam() + ".so");
    if (!fs::exists(plugin)) GTEST_SKIP() << "no " << plugin;
    std::string pattern = (fs::temp_directory_path() / "octavo-mpi-XXXXXX").string();
    ASSERT_TRUE(::mkdtemp(pattern.data()));
    pids_ = pattern;
  }

  // Whatever happened, no rank may be left: neither running nor stopped.
  void TearDown() override {
    if (pids_.empty()) return;
    for (const auto& entry : fs::directory_iterator(pids_)) {
      const pid_t pid = std::stoi(entry.path().filename().string());
      bool alive = true;
      for (int i = 0; i < 100 && alive; ++i) {
        std::this_thread::sleep_for(std::chrono::milliseconds(i ? 50 : 0));
        alive = running(pid);
      }
      EXPECT_FALSE(alive) << "rank with pid " << pid << " is still there";
      if (alive) ::kill(pid, SIGKILL);
    }
    std::error_code ignored;
    fs::remove_all(pids_, ignored);
  }

  // timeout ends what a broken watchdog would leave hanging; 124 is its code.
  Outcome run(int ranks, const std::string& mode, const std::string& environment = "") {
    const bool open = GetParam() == "openmpi";
    // MPI itself leaks; under AddressSanitizer that would be the exit code.
    const std::string command =
        "ASAN_OPTIONS=detect_leaks=0 " + environment +
        " OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 timeout -k 5 40 mpirun." + GetParam() +
        (open ? " --oversubscribe --bind-to none" : "") + " -n " + std::to_string(ranks) +
        " " OCTAVO_COMM_PROGRAM " " + mode + " --pids " + pids_;
    return run_shell(command);
  }

 private:
  // A zombie whose parent is gone counts as ended.
  static bool running(pid_t pid) {
    FILE* status = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "r");
    if (!status) return false;
    char state = 'Z';
    const int read = std::fscanf(status, "%*d (%*[^)]) %c", &state);
    std::fclose(status);
    return read == 1 && state != 'Z';
  }

  std::string pids_;
};

INSTANTIATE_TEST_SUITE_P(Comm, Mpi, testing::Values("openmpi", "mpich"),
                         [](const auto& engine) { return engine.param; });

TEST_P(Mpi, CollectivesDeliverAndCount) {
  for (const int ranks : {2, 4}) {
    const Outcome plain = run(ranks, "collectives"),
                  checked = run(ranks, "collectives", "OCTAVO_COMM_CHECK=1");
    EXPECT_EQ(plain.code, 0) << plain.text;
    EXPECT_TRUE(contains(plain, "ok " + std::to_string(ranks) + " ranks on 1 hosts")) << plain.text;
    EXPECT_EQ(checked.code, 0) << checked.text;
    EXPECT_TRUE(contains(checked, "ok " + std::to_string(ranks) + " ranks on 1 hosts")) << checked.text;
  }
}

TEST_P(Mpi, AKilledRankEndsTheJob) {
  const Outcome outcome = run(4, "loop --deadline 30", "OCTAVO_FAULT=rank=2,at=9,kind=kill");
  EXPECT_NE(outcome.code, 0) << outcome.text;
  EXPECT_NE(outcome.code, 124) << outcome.text;
  EXPECT_LT(outcome.seconds, 30);
  // mpirun of Open MPI tells the others to stop, and they say whom they miss. MPICH's kills them, and names
  // the signal.
  if (GetParam() == "openmpi")
    EXPECT_TRUE(contains(outcome, "step 8 waits for rank 2 (host ") ||
                contains(outcome, "failed, waiting for rank 2 (host "))
        << outcome.text;
  else
    EXPECT_TRUE(contains(outcome, "Killed (signal 9)")) << outcome.text;
}

TEST_P(Mpi, AStoppedRankEndsTheJobWithinTheDeadline) {
  const Outcome outcome = run(4, "stop 2 --deadline 5");
  EXPECT_EQ(outcome.code, 5) << outcome.text;
  EXPECT_GE(outcome.seconds, 5);
  EXPECT_LT(outcome.seconds, 15);
  EXPECT_TRUE(contains(outcome, "of 4 (host ")) << outcome.text;
  EXPECT_TRUE(contains(outcome, "all-to-all of weight gradients, bucket 3, step 20, has waited 5."))
      << outcome.text;
  EXPECT_TRUE(contains(outcome, "s for rank 2 (host ")) << outcome.text;
  EXPECT_TRUE(
      contains(outcome, "#1-20 all-to-all of weight gradients, bucket 3, steps 0-19: sent 60000 bytes"))
      << outcome.text;
}

TEST_P(Mpi, AnErrorOfOneRankEndsTheJobWithItsCode) {
  const Outcome outcome = run(2, "fail 1 --deadline 30");
  EXPECT_EQ(outcome.code, 4) << outcome.text;
  EXPECT_LT(outcome.seconds, 15);
  EXPECT_TRUE(contains(outcome, "octavo: rank 1 of 2 (host ")) << outcome.text;
  EXPECT_TRUE(contains(outcome, "): cannot write shard: No space left on device")) << outcome.text;
}

TEST_P(Mpi, ARankThatLeavesWithoutAWordEndsTheJob) {
  const Outcome outcome = run(2, "throw 1 --deadline 30");
  EXPECT_NE(outcome.code, 0) << outcome.text;
  EXPECT_LT(outcome.seconds, 15);
  EXPECT_TRUE(contains(outcome, "comm_program: an error of its own")) << outcome.text;
}

TEST_P(Mpi, AFlippedBitEndsTheJobWhereItIsLookedFor) {
  const Outcome outcome =
      run(4, "loop --deadline 30", "OCTAVO_COMM_CHECK=1 OCTAVO_FAULT='rank=2,at=9,kind=flip'");
  EXPECT_EQ(outcome.code, 5) << outcome.text;
  EXPECT_TRUE(contains(outcome, "octavo: rank 2 of 4 (host ")) << outcome.text;
  EXPECT_TRUE(contains(outcome, "is not what was sent")) << outcome.text;
}

TEST_P(Mpi, DifferentOrdersAreNamed) {
  const Outcome outcome = run(2, "disagree --deadline 30", "OCTAVO_COMM_CHECK=1");
  EXPECT_EQ(outcome.code, 5) << outcome.text;
  EXPECT_TRUE(contains(outcome, "are not in the same exchange")) << outcome.text;
  EXPECT_TRUE(contains(outcome, "all-gather of weights, bucket 1")) << outcome.text;
  EXPECT_TRUE(contains(outcome, "all-gather of weights, bucket 0")) << outcome.text;
}

TEST_P(Mpi, OtherSizesThanExpectedAreAnError) {
  const Outcome outcome = run(2, "sizes --deadline 30");
  EXPECT_EQ(outcome.code, 5) << outcome.text;
  EXPECT_TRUE(contains(outcome, "send of state failed")) << outcome.text;
}

TEST_P(Mpi, WithoutItsPluginTheEngineIsAnError) {
  const fs::path lonely = fs::temp_directory_path() / ("octavo-lonely-" + std::to_string(::getpid()));
  fs::create_directories(lonely / "bin");
  fs::copy_file(OCTAVO_COMM_PROGRAM, lonely / "bin/comm_program", fs::copy_options::overwrite_existing);
  const std::string variable = GetParam() == "openmpi" ? "OMPI_COMM_WORLD_SIZE=2" : "PMI_SIZE=2";
  FILE* pipe =
      ::popen((variable + " " + (lonely / "bin/comm_program").string() + " collectives 2>&1").c_str(), "r");
  std::string text;
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) text += static_cast<char>(c);
  EXPECT_EQ(WEXITSTATUS(::pclose(pipe)), 3) << text;
  EXPECT_NE(
      text.find("/lib/octavo/comm-" + GetParam() + ".so: install lib" + GetParam() + "-dev and build again"),
      std::string::npos)
      << text;
  fs::remove_all(lonely);
}

}  // namespace
}  // namespace octavo
