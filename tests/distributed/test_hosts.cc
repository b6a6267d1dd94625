// SPDX-License-Identifier: Apache-2.0
// The real program on three "hosts" over TCP (netns.sh). Skipped where namespaces may not be created.
#include <regex>

#include "distributed/job.h"

namespace octavo {
namespace {

class Hosts : public Jobs, public testing::WithParamInterface<std::string> {
 protected:
  static CommandResult run_on_hosts(const std::vector<std::string>& options,
                                    const std::vector<std::string>& args) {
    std::vector<std::string> words{"timeout", "-k", "5", "240", OCTAVO_NETNS};
    words.insert(words.end(), options.begin(), options.end());
    words.insert(words.end(), {GetParam(), "4", OCTAVO_BINARY});
    words.insert(words.end(), args.begin(), args.end());
    CommandResult result = run_command(words);
    result.err += result.out;
    return result;
  }
  // UCX of MPICH now and then hangs in MPI_Finalize over TCP; everything is done by then.
  static bool good(const CommandResult& result) {
    return result.code == 0 ||
           (GetParam() == "mpich" && contains(result, "all is exchanged, but the end of MPI"));
  }
};

INSTANTIATE_TEST_SUITE_P(Distributed, Hosts, testing::Values("openmpi", "mpich"),
                         [](const auto& engine) { return engine.param; });

TEST_P(Hosts, TheBytesOfOneProcess) {
  for (const std::string recipe : {"bf16", "fp8-lm-o2"}) {
    SCOPED_TRACE(recipe);
    const std::string one = recipe + "-one-" + GetParam(), hosts = recipe + "-hosts-" + GetParam();
    const CommandResult result = run_on_hosts({}, run_of(hosts, 7, {"--recipe", recipe, "--zero", "1"}));
    if (result.code == 77) GTEST_SKIP() << result.err;
    EXPECT_TRUE(good(result)) << result.code << "\n" << result.err;
    alone(run_of(one, 7, {"--recipe", recipe}));
    expect_same_bytes(one, hosts);
  }
}

TEST_P(Hosts, ADeadLinkAndAResume) {
  constexpr int kSteps = 4000;  // longer than the link lives
  const std::string name = "link-" + GetParam();
  const std::vector<std::string> fewer{"--save-every", "50", "--set", "eval.every=1000"};
  std::vector<std::string> args =
      run_of(name, kSteps, {"--recipe", "fp8-lm-o2", "--zero", "1", "--deadline", "3"});
  args.insert(args.end(), fewer.begin(), fewer.end());
  const CommandResult result = run_on_hosts({"--link-down", "1:6"}, args);
  if (result.code == 77) GTEST_SKIP() << result.err;
  EXPECT_NE(result.code, 0) << result.err;
  EXPECT_NE(result.code, 124) << result.err;
  EXPECT_LT(result.seconds, 40) << result.err;
  EXPECT_TRUE(std::regex_search(
      result.err, std::regex("rank \\d of 4 \\(host h[02]\\): .* has waited 3.*rank \\d \\(host h1\\)")))
      << result.err;
  // Not to the end of so long a run: one process and four ranks go on for some steps, from the same
  // checkpoint.
  const int64_t reached = steps_done(at(name));
  ASSERT_GT(reached, 0) << result.err;
  const std::string last = std::to_string(reached + 20);
  fs::copy(at(name), at(name + "-one"), fs::copy_options::recursive);
  const auto resume = [&](const std::string& run) {
    return std::vector<std::string>{"train", "--resume", at(run), "--deadline", "60", "--steps", last};
  };
  const CommandResult hosts = run_on_hosts({}, resume(name));
  EXPECT_TRUE(good(hosts)) << hosts.code << "\n" << hosts.err;
  const CommandResult one = octavo_command(resume(name + "-one"));
  ASSERT_EQ(one.code, 0) << one.err;
  expect_same_bytes(name + "-one", name);
}

}  // namespace
}  // namespace octavo
