// SPDX-License-Identifier: Apache-2.0
// The one exception type for what a user or a file can cause. The message is one sentence that names the
// thing (file, tensor, key) and what would be right; the command line prints it and exits with `code`.
#pragma once
#include <stdexcept>
#include <string>

namespace octavo {

/// Exit codes of the program, and the kinds of error of the library.
enum class ExitCode {
  ok = 0,
  check_failed = 1,   ///< a comparison or self-test did not hold
  usage = 2,          ///< an unknown flag, key, recipe, preset
  unsupported = 3,    ///< does not fit in memory, or a valid thing this build cannot do
  bad_data = 4,       ///< a file's content is wrong, or a number became NaN
  communication = 5,  ///< a rank of a distributed run does not answer, or the ranks disagree
  interrupted = 130   ///< stopped by a signal after saving
};

class Error : public std::runtime_error {
 public:
  Error(ExitCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ExitCode code() const { return code_; }

 private:
  ExitCode code_;
};

[[noreturn]] void fail_usage(const std::string& message);
[[noreturn]] void fail_unsupported(const std::string& message);
[[noreturn]] void fail_data(const std::string& message);
/// `action` failed on `path`; appends strerror(errno).
[[noreturn]] void fail_errno(const std::string& action, const std::string& path);

}  // namespace octavo
