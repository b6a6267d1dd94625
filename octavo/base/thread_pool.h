// SPDX-License-Identifier: Apache-2.0
// A fixed team of threads with static partitions. Which thread does which part never changes a result: parts
// write disjoint outputs, and sums across parts go through a number of blocks that does not depend on the
// team's size.
#pragma once
#include <cstdint>
#include <memory>
#include <type_traits>

namespace octavo {

class ThreadPool {
 public:
  /// `threads` >= 1, the caller included; 0 takes every CPU this process may run on.
  /// Throws usage beyond 4096, unsupported when the system refuses that many.
  explicit ThreadPool(int threads = 0);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const;

  /// fn(thread) once on every thread of the team; returns when all are done. Not reentrant. fn must not
  /// throw.
  template <class Fn>
  void run(Fn&& fn) {
    run_erased(
        [](void* context, int thread) { (*static_cast<std::remove_reference_t<Fn>*>(context))(thread); },
        const_cast<void*>(static_cast<const void*>(&fn)));
  }

  /// fn(begin, end) on contiguous ranges that cover [0, n) in multiples of `grain` (except the last).
  template <class Fn>
  void parallel_for(int64_t n, int64_t grain, Fn&& fn) {
    const int64_t blocks = (n + grain - 1) / grain;
    if (size() == 1 || blocks <= 1) {
      if (n > 0) fn(int64_t{0}, n);
      return;
    }
    run([&](int thread) {
      const int64_t first = blocks * thread / size() * grain, last = blocks * (thread + 1) / size() * grain;
      if (first < last) fn(first, last < n ? last : n);
    });
  }

 private:
  using Task = void (*)(void* context, int thread);
  void run_erased(Task task, void* context);
  struct Team;
  std::unique_ptr<Team> team_;
};

}  // namespace octavo
