// SPDX-License-Identifier: Apache-2.0
// The real program as several ranks, under the launchers of both MPIs on this machine.
#pragma once
#include <algorithm>
#include <cstdlib>

#include "cli/run_octavo.h"

namespace octavo {

/// Whether "openmpi" or "mpich" can be used here.
inline bool has_engine(const std::string& engine) {
  return std::system(("command -v mpirun." + engine + " >/dev/null 2>&1").c_str()) == 0 &&
         fs::exists(fs::path(OCTAVO_BINARY).parent_path().parent_path() / "lib/octavo" /
                    ("comm-" + engine + ".so"));
}

/// The words before the program.
inline std::vector<std::string> launcher(const std::string& engine) {
  std::vector<std::string> words{"mpirun." + engine};
  if (engine == "openmpi") words.insert(words.end(), {"--oversubscribe", "--bind-to", "none"});
  return words;
}

/// `octavo args...` as `ranks` processes.
inline std::vector<std::string> as_ranks(int ranks, const std::vector<std::string>& args) {
  std::vector<std::string> words{"-n", std::to_string(ranks), OCTAVO_BINARY};
  words.insert(words.end(), args.begin(), args.end());
  return words;
}

/// Processes of the program whose command line names `directory`, by rank.
inline std::map<int, pid_t> ranks_of(const std::string& directory) {
  std::map<int, pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    if (fs::read_symlink(entry.path() / "exe", error) != fs::path(OCTAVO_BINARY)) continue;
    if (slurp(entry.path() / "cmdline").find(directory) == std::string::npos) continue;
    const std::string environment = '\0' + slurp(entry.path() / "environ");
    for (const std::string variable : {"OMPI_COMM_WORLD_RANK=", "PMI_RANK="})
      if (const size_t at = environment.find('\0' + variable); at != std::string::npos) {
        found[std::atoi(environment.c_str() + at + 1 + variable.size())] = std::stoi(name);
        break;
      }
  }
  return found;
}

/// Steps that are written down in a run directory.
inline int64_t steps_done(const std::string& run) {
  const std::string text = slurp(run + "/metrics.jsonl");
  int64_t steps = 0;
  for (size_t at = 0; (at = text.find("\"event\":\"step\"", at)) != std::string::npos; ++at) ++steps;
  return steps;
}

/// Waits until a run is beyond `step`; false when the launcher ends before, or within a minute.
inline bool wait_for_step(pid_t launcher, const std::string& run, int64_t step) {
  for (int i = 0; i < 6000 && is_running(launcher); ++i) {
    if (steps_done(run) > step) return true;
    sleep_seconds(0.01);
  }
  return false;
}

/// A directory with data, and jobs in it that leave nothing behind.
class Jobs : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
    ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
    ::setenv("ASAN_OPTIONS", "detect_leaks=0", 1);  // MPI itself leaks
    directory_ = new TemporaryDirectory;
    prepare_data(at("text.txt"), at("data"));
  }
  static void TearDownTestSuite() {
    delete directory_;
    directory_ = nullptr;
  }
  static std::string at(const std::string& name) { return *directory_ / name; }

  /// Flags of a run of `steps` steps on four logical ranks that saves every third.
  static std::vector<std::string> run_of(const std::string& name, int steps,
                                         const std::vector<std::string>& more = {}) {
    std::vector<std::string> args =
        tiny_run(at("data"), at(name),
                 {"--steps", std::to_string(steps), "--save-every", "3", "--keep", "100", "--threads", "1",
                  "--deadline", "60", "--micro-batch", "2", "--set", "eval.every=4", "--set",
                  "parallel.bucket_mb=0.01"});
    args.insert(args.end(), more.begin(), more.end());
    return args;
  }

  /// One process that computes what four logical ranks would.
  static void alone(const std::vector<std::string>& args) {
    std::vector<std::string> words = args;
    words.insert(words.end(), {"--logical-ranks", "4"});
    const CommandResult result = octavo_command(words);
    ASSERT_EQ(result.code, 0) << result.err;
  }

  /// A job, all of whose ranks have to be gone afterwards: neither running nor stopped. A job that does not
  /// end within 90 s is ended, with code 124.
  static CommandResult launch(const std::string& engine, const std::vector<std::string>& words,
                              const std::function<void(pid_t)>& interfere = {}) {
    std::vector<std::string> command = launcher(engine);
    command.insert(command.end(), words.begin(), words.end());
    CommandResult result = run_command(command, [&](pid_t pid) {
      if (interfere) interfere(pid);
      for (int i = 0; i < 1800 && is_running(pid); ++i) sleep_seconds(0.05);
      if (!is_running(pid)) return;
      ADD_FAILURE() << "the job does not end";
      ::kill(pid, SIGKILL);
    });
    for (int i = 0; i < 100 && !ranks_of(directory_->path()).empty(); ++i) sleep_seconds(0.05);
    for (const auto& [rank, pid] : ranks_of(directory_->path())) {
      ADD_FAILURE() << "rank " << rank << " is still there";
      ::kill(pid, SIGKILL);
    }
    result.err += result.out;
    return result;
  }

  /// All checkpoints of `one` and the final model, byte by byte; an interrupted run has more of them.
  static void expect_same_bytes(const std::string& one, const std::string& other) {
    for (const char* part : {"checkpoints", "final"}) {
      const auto a = all_files(at(one + "/" + part)), b = all_files(at(other + "/" + part));
      ASSERT_FALSE(a.empty());
      for (const auto& [name, content] : a)
        EXPECT_TRUE(b.count(name) && b.at(name) == content)
            << other << "/" << part << "/" << name << " differs from " << one;
    }
  }

 private:
  static inline TemporaryDirectory* directory_ = nullptr;
};

inline bool contains(const CommandResult& result, const std::string& part) {
  return result.err.find(part) != std::string::npos;
}

}  // namespace octavo
