// SPDX-License-Identifier: Apache-2.0
// What the thread that communicates publishes, so that the watchdog can say where it stands even if it never
// comes back from a call of MPI. Header only: the MPI plugins link nothing of the program.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "octavo/comm/label.h"

namespace octavo {

/// Thread-safe. One thread communicates: it calls begin ... end and what stands between; any may look.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  /// An operation that is over, or the one that is going on.
  struct Operation {
    int64_t number = -1;  ///< counts exchanges; 0 is the greeting, -1 no exchange (start, shutdown)
    Label label;
    int64_t sent = 0;  ///< bytes to other ranks
    double limit = 0;  ///< seconds it may take; 0: the watchdog's deadline
    Clock::time_point began{};
    double seconds = 0;  ///< until its end, or until now
  };
  struct Snapshot {
    bool active = false;
    Operation now;
    std::vector<int> receiving,
        sending;  ///< ranks from which something is missing; to which something is not yet sent
    std::vector<Operation> last;  ///< oldest first, at most kKept
  };
  static constexpr int64_t kKept = 64;

  /// Once, when the number of ranks is known.
  void resize(int ranks) {
    std::lock_guard lock(mutex_);
    pending_ = std::make_unique<std::atomic<uint8_t>[]>(static_cast<size_t>(ranks));
    ranks_ = ranks;
  }

  void begin(int64_t number, const Label& label, int64_t sent, double limit = 0) {
    std::lock_guard lock(mutex_);
    now_ = {number, label, sent, limit, Clock::now(), 0};
    for (int p = 0; p < ranks_; ++p) pending_[static_cast<size_t>(p)].store(0, std::memory_order_relaxed);
    active_ = true;
  }
  void end() {
    std::lock_guard lock(mutex_);
    now_.seconds = seconds_since(now_.began);
    if (now_.number >= 0) last_[static_cast<size_t>(done_++ % kKept)] = now_;
    active_ = false;
  }

  // Called by what moves the bytes.
  void expect(int peer, bool receive, bool send) {
    pending_[static_cast<size_t>(peer)].store(
        static_cast<uint8_t>((receive ? kReceive : 0) | (send ? kSend : 0)), std::memory_order_relaxed);
  }
  void received(int peer) { clear(peer, kReceive); }
  void sent(int peer) { clear(peer, kSend); }
  /// Only the thread that communicates may ask.
  int64_t number() const { return now_.number; }
  /// The headers of the check travel, not data.
  void set_checking(bool checking) { checking_ = checking; }
  bool checking() const { return checking_; }

  /// From any thread: whatever waits must stop waiting and end the job with `code`. The first one counts.
  void request_end(int code) {
    int none = 0;
    ending_.compare_exchange_strong(none, code);
  }
  /// 0 while all is well.
  int ending() const { return ending_.load(std::memory_order_relaxed); }

  Snapshot snapshot() const {
    std::lock_guard lock(mutex_);
    Snapshot s;
    s.active = active_;
    s.now = now_;
    s.now.seconds = seconds_since(now_.began);
    for (int p = 0; active_ && p < ranks_; ++p) {
      const uint8_t flags = pending_[static_cast<size_t>(p)].load(std::memory_order_relaxed);
      if (flags & kReceive) s.receiving.push_back(p);
      if (flags & kSend) s.sending.push_back(p);
    }
    for (int64_t i = done_ > kKept ? done_ - kKept : 0; i < done_; ++i)
      s.last.push_back(last_[static_cast<size_t>(i % kKept)]);
    return s;
  }

 private:
  static constexpr uint8_t kReceive = 1, kSend = 2;
  static double seconds_since(Clock::time_point t) {
    return std::chrono::duration<double>(Clock::now() - t).count();
  }
  void clear(int peer, uint8_t flag) {
    pending_[static_cast<size_t>(peer)].fetch_and(static_cast<uint8_t>(~flag), std::memory_order_relaxed);
  }

  mutable std::mutex mutex_;
  bool active_ = false;
  Operation now_;
  int ranks_ = 0;
  std::unique_ptr<std::atomic<uint8_t>[]> pending_;
  std::array<Operation, kKept> last_;
  int64_t done_ = 0;
  bool checking_ = false;
  std::atomic<int> ending_{0};
};

}  // namespace octavo
