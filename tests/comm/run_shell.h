// SPDX-License-Identifier: Apache-2.0
// A launcher's command line, run to its end.
#pragma once
#include <sys/wait.h>

#include <cstdio>
#include <string>

#include "octavo/base/stopwatch.h"

namespace octavo {

struct Outcome {
  int code = -1;     ///< exit code; -1: ended by a signal
  std::string text;  ///< what it printed
  double seconds = 0;
};

inline Outcome run_shell(const std::string& command) {
  Outcome outcome;
  const Stopwatch watch;
  FILE* pipe = ::popen((command + " 2>&1").c_str(), "r");
  for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) outcome.text += static_cast<char>(c);
  const int status = ::pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  outcome.seconds = watch.seconds();
  return outcome;
}

inline bool contains(const Outcome& outcome, const std::string& part) {
  return outcome.text.find(part) != std::string::npos;
}

}  // namespace octavo
