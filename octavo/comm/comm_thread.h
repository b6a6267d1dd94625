// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <thread>

#include "octavo/comm/communicator.h"

namespace octavo {

/// A posted piece of communication.
class Ticket {
 public:
  Ticket() = default;
  explicit Ticket(std::shared_future<void> done) : done_(std::move(done)) {}
  /// Returns when it is done; throws what it threw, or what an earlier one threw. A default-made ticket is
  /// done.
  void wait() const {
    if (done_.valid()) done_.get();
  }
  bool done() const {
    return !done_.valid() || done_.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
  }

 private:
  std::shared_future<void> done_;
};

/// Owns a communicator and the only thread that calls it: MPI wants one, and communication goes on while the
/// others compute. What is posted runs in the order of posting, on every rank the same.
class CommThread {
 public:
  using Open = std::function<std::unique_ptr<Communicator>()>;

  /// Calls `open` on the new thread and waits for it; throws what it throws.
  explicit CommThread(const Open& open);
  /// Finishes what was posted and leaves in order. If anything failed, or an exception is under way, it
  /// leaves at once instead, and the launcher ends the job.
  ~CommThread();
  CommThread(const CommThread&) = delete;
  CommThread& operator=(const CommThread&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }

  /// After an error every later job fails with it and does not run.
  Ticket post(std::function<void(Communicator&)> job);
  /// post and wait.
  void run(std::function<void(Communicator&)> job) { post(std::move(job)).wait(); }

  /// For a rank that cannot go on while the others do not know: prints `why` and ends the job on all ranks,
  /// even if the thread is waiting for another rank.
  [[noreturn]] void abort(int code, const std::string& why);

 private:
  struct Job {
    std::function<void(Communicator&)> work;
    std::promise<void> done;
  };
  void serve(const Open& open, std::promise<void>& opened);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> jobs_;
  bool stop_ = false, leave_at_once_ = false;
  int rank_ = 0, size_ = 1, exceptions_ = 0;
  Communicator* communicator_ = nullptr;  // lives as long as the thread
  std::thread thread_;
};

}  // namespace octavo
