// SPDX-License-Identifier: Apache-2.0
// ProgressLine on stderr: one line rewritten in place on a terminal, now and then a plain line elsewhere.
#pragma once
#include <cstdint>
#include <string>

#include "octavo/base/stopwatch.h"

namespace octavo {

/// Whether stderr is a terminal that takes control sequences.
bool interactive();
/// Set by --quiet: nothing but errors on stderr.
bool& quiet();

/// Replaces the line being rewritten; on a non-terminal prints nothing.
void status(const std::string& text);
/// Ends the line being rewritten and prints a full one.
void message(const std::string& text);

/// "1.2k", "34.5M".
std::string short_number(double value);
/// "420 B", "12.3 MiB".
std::string bytes_text(double bytes);
/// "5s", "12m 03s", "3h 20m".
std::string duration(double seconds);

/// ProgressLine of work of a known size: share, rate and time left, at most ten times a second.
class ProgressLine {
 public:
  ProgressLine(std::string title, std::string unit) : title_(std::move(title)), unit_(std::move(unit)) {}
  void update(int64_t done, int64_t total);
  /// Leaves a full line that says what was done in which time.
  void finish(const std::string& summary = "");

 private:
  std::string title_, unit_;
  Stopwatch watch_, since_print_;
  int64_t done_ = 0;
  bool printed_ = false;
};

}  // namespace octavo
