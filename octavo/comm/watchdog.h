// SPDX-License-Identifier: Apache-2.0
// MPI notices neither a frozen rank nor a dead link: those who wait for it wait for ever. This thread looks
// at what the communicating thread publishes and ends the job with a message that says who is missing.
#pragma once
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "octavo/comm/communicator.h"

namespace octavo {

class Watchdog {
 public:
  /// Watches from now on if there is a deadline or a stop flag.
  Watchdog(Progress& progress, const CommOptions& options);
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// Who this is and where the others are, when it is known.
  void introduce(int rank, std::vector<std::string> hosts);

  /// Prints `why` and the last operations, or hands them to options.end; from then on whatever waits gives
  /// up. Only the first call does anything. From any thread.
  void announce(int code, const std::string& why);
  /// What was announced.
  std::string message() const;
  /// After announce, in a process that shall end: gives the transport a moment, then ends the process.
  [[noreturn]] void end_process(int code);

  /// "rank 0 of 4 (host a)".
  std::string self() const;
  /// "rank 2 (host b)".
  std::string describe(int rank) const;
  /// " for rank 2 (host b) and to send to rank 3 (host b)"; in a call that does not come back if nothing is
  /// missing.
  std::string missing(const Progress::Snapshot& s) const;

 private:
  void watch();

  Progress& progress_;
  const CommOptions options_;
  std::mutex announcing_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false, announced_ = false;
  std::string message_;
  int rank_ = -1;
  std::vector<std::string> hosts_;
  std::thread thread_;
};

/// "all-to-all of weight gradients, bucket 3, step 17".
std::string label_text(const Label& label);
/// A line for each; equal ones in a row share one.
std::string operations_text(const std::vector<Progress::Operation>& operations);
/// Of this machine; "?" if it has none.
std::string host_name();

}  // namespace octavo
