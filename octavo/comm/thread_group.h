// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <memory>

#include "octavo/comm/communicator.h"

namespace octavo {

/// Threads of one process as ranks, for tests.
class ThreadGroup {
 public:
  explicit ThreadGroup(int ranks);
  ~ThreadGroup();

  /// Called once for each rank, on the thread that will communicate; waits for the other ranks to do the
  /// same. Without `options.end` a failure throws instead of ending the process. The check is always
  /// on.
  std::unique_ptr<Communicator> open(int rank, CommOptions options = {}) const;

  /// `body` on all ranks, each on a thread of its own. A rank that throws takes the others with it; throws
  /// what was thrown first, what is not of code communication before what is.
  static void run(int ranks, const std::function<void(Communicator&)>& body, const CommOptions& options = {});

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace octavo
