// SPDX-License-Identifier: Apache-2.0
// The real program as a child process, in a directory of its own.
#pragma once
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "octavo/base/rng.h"

namespace octavo {
namespace fs = std::filesystem;

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (fs::temp_directory_path() / "octavo-test-XXXXXX").string();
    if (!::mkdtemp(pattern.data())) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}
inline void spill(const std::string& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

struct CommandResult {
  int code = 0;  ///< exit code, or -signal
  std::string out, err;
  double seconds = 0;
};

/// Runs a program. `interfere(pid)` is called once the child runs, and may signal it.
inline CommandResult run_command(std::vector<std::string> words,
                                 const std::function<void(pid_t)>& interfere = {}) {
  const TemporaryDirectory scratch;
  const std::string out = scratch / "out", err = scratch / "err";
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const auto begin = std::chrono::steady_clock::now();
  std::fflush(nullptr);  // or the child would write what is pending once more
  const pid_t pid = ::fork();
  if (pid == 0) {
    if (!std::freopen(out.c_str(), "w", stdout) || !std::freopen(err.c_str(), "w", stderr)) ::_exit(126);
    ::execvp(argv[0], argv.data());
    ::_exit(127);
  }
  if (interfere) interfere(pid);
  int status = 0;
  ::waitpid(pid, &status, 0);
  CommandResult result;
  result.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  result.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  result.out = slurp(out);
  result.err = slurp(err);
  return result;
}

/// Runs `octavo args...`.
inline CommandResult octavo_command(const std::vector<std::string>& args,
                                    const std::function<void(pid_t)>& interfere = {}) {
  std::vector<std::string> words{OCTAVO_BINARY};
  words.insert(words.end(), args.begin(), args.end());
  return run_command(std::move(words), interfere);
}

/// True while the child has not ended; it stays to be waited for.
inline bool is_running(pid_t pid) {
  siginfo_t info{};
  return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
}

inline void sleep_seconds(double seconds) {
  std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
}

/// Pseudo-English: words of a small vocabulary in random order.
inline std::string generated_text(int words, uint64_t seed = 1) {
  const char* const vocabulary[] = {
      "the",   "old",    "king", "went", "to",     "sea",    "and",     "never",   "came",   "back",
      "while", "queens", "sang", "of",   "winter", "stones", "that",    "burn",    "under",  "river",
      "light", "where",  "no",   "bird", "would",  "answer", "because", "morning", "forgot", "them"};
  std::string text;
  const Rng rng(seed);
  for (int i = 0; i < words; ++i) {
    text += vocabulary[rng.integer(static_cast<uint64_t>(i)) % std::size(vocabulary)];
    text += i % 11 == 10 ? ".\n" : i % 67 == 66 ? "\n\n" : " ";
  }
  return text;
}

/// Every file below a directory with its content.
inline std::map<std::string, std::string> all_files(const std::string& directory) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(directory))
    if (entry.is_regular_file())
      files[fs::relative(entry.path(), directory).string()] = slurp(entry.path().string());
  return files;
}

/// A data set of generated text with a vocabulary of 300.
inline void prepare_data(const std::string& text_file, const std::string& directory, int words = 9000) {
  spill(text_file, generated_text(words));
  const CommandResult result = octavo_command(
      {"prepare", "--input", text_file, "--out", directory, "--vocab-size", "300", "--val-fraction", "0.1"});
  ASSERT_EQ(result.code, 0) << result.err;
}

/// Flags of a model that takes a millisecond a step.
inline std::vector<std::string> tiny_run(const std::string& data, const std::string& out,
                                         const std::vector<std::string>& more = {}) {
  std::vector<std::string> args{"train",
                                "--train-data",
                                data,
                                "--out",
                                out,
                                "--set",
                                "model.width=32",
                                "--set",
                                "model.layers=2",
                                "--set",
                                "model.heads=2",
                                "--set",
                                "model.context=32",
                                "--micro-batch",
                                "4",
                                "--eval-batches",
                                "4",
                                "--warmup-steps",
                                "5",
                                "--lr",
                                "3e-3"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

}  // namespace octavo
