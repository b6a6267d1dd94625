// SPDX-License-Identifier: Apache-2.0
// comm_program on three "hosts" over TCP (netns.sh). Skipped where namespaces may not be created.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "comm/run_shell.h"

namespace octavo {
namespace {

class Netns : public testing::TestWithParam<std::string> {
 protected:
  Outcome run(const std::string& options, int ranks, const std::string& mode) {
    const std::string command = "ASAN_OPTIONS=detect_leaks=0 timeout -k 5 180 " OCTAVO_NETNS " " + options +
                                " " + GetParam() + " " + std::to_string(ranks) + " " OCTAVO_COMM_PROGRAM " " +
                                mode;
    return run_shell(command);
  }
};

INSTANTIATE_TEST_SUITE_P(Comm, Netns, testing::Values("openmpi", "mpich"),
                         [](const auto& engine) { return engine.param; });

TEST_P(Netns, CollectivesOverTcp) {
  const Outcome outcome = run("", 4, "collectives --deadline 10");
  if (outcome.code == 77) GTEST_SKIP() << outcome.text;
  EXPECT_TRUE(contains(outcome, "ok 4 ranks on 3 hosts")) << outcome.text;
  // 75 MB of one broadcast alone leave each host.
  for (const char* host : {"h0", "h1", "h2"}) {
    const size_t at = outcome.text.find(std::string("netns.sh: ") + host + " sent ");
    ASSERT_NE(at, std::string::npos) << outcome.text;
    EXPECT_GT(std::atoll(outcome.text.c_str() + at + 18), 50'000'000) << outcome.text;
  }
  // UCX of MPICH now and then hangs in MPI_Finalize over TCP, in programs without octavo too
  // (github.com/openucx/ucx/issues/8738); the watchdog ends that.
  if (GetParam() == "mpich" && contains(outcome, "all is exchanged, but the end of MPI")) return;
  EXPECT_EQ(outcome.code, 0) << outcome.text;
}

// Counts of MPI are int: longer messages travel in pieces.
TEST_P(Netns, MessagesBeyondOneGibibyte) {
  if (::sysconf(_SC_AVPHYS_PAGES) * ::sysconf(_SC_PAGESIZE) < 8'000'000'000)
    GTEST_SKIP() << "needs 8 GB of memory";
  const Outcome outcome = run("", 2, "pieces --deadline 120");
  if (outcome.code == 77) GTEST_SKIP() << outcome.text;
  EXPECT_TRUE(contains(outcome, "ok\n")) << outcome.text;
}

TEST_P(Netns, ADeadLinkEndsTheJobWithinTheDeadline) {
  const Outcome outcome = run("--link-down 1:2", 4, "loop --deadline 3");
  if (outcome.code == 77) GTEST_SKIP() << outcome.text;
  EXPECT_TRUE(contains(outcome, "link of h1 goes down")) << outcome.text;
  EXPECT_NE(outcome.code, 0) << outcome.text;
  EXPECT_LT(outcome.seconds, 25) << outcome.text;
  EXPECT_TRUE(contains(outcome, "all-to-all of weight gradients, bucket 3, step ")) << outcome.text;
  EXPECT_TRUE(contains(outcome, "for rank 2 (host h1)\n")) << outcome.text;
  EXPECT_FALSE(contains(outcome, "for rank 1 (host h0)\n")) << outcome.text;
}

}  // namespace
}  // namespace octavo
