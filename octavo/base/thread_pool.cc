// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/thread_pool.h"

#include <sched.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "octavo/base/error.h"

namespace octavo {
namespace {

// A step launches hundreds of short parallel sections; sleeping between them costs about 50 us each. So a
// worker spins for a while before it sleeps. The limit keeps an idle process (an interactive prompt) off the
// CPU.
constexpr int kSpins = 20000;
// Far beyond any machine; a mistyped number should not exhaust one.
constexpr int kMostThreads = 4096;

void relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
  return static_cast<int>(std::thread::hardware_concurrency());
}

}  // namespace

struct ThreadPool::Team {
  std::atomic<uint64_t> generation{0};
  std::atomic<int> pending{0};
  std::atomic<bool> stop{false};
  Task task = nullptr;
  void* context = nullptr;
  std::mutex mutex;
  std::condition_variable wake;
  std::vector<std::thread> workers;

  void work(int thread) {
    uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && generation.load(std::memory_order_acquire) == seen; ++spin) relax();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      if (stop.load(std::memory_order_acquire)) return;
      task(context, thread);
      pending.fetch_sub(1, std::memory_order_release);
    }
  }

  void announce() {
    // The empty critical section orders the increment against a worker that is just about to sleep.
    generation.fetch_add(1, std::memory_order_release);
    { std::lock_guard lock(mutex); }
    wake.notify_all();
  }

  void dismiss() {
    stop.store(true, std::memory_order_release);
    announce();
    for (std::thread& worker : workers) worker.join();
  }
};

ThreadPool::ThreadPool(int threads) : team_(std::make_unique<Team>()) {
  if (threads <= 0) threads = available_cpus();
  if (threads > kMostThreads)
    fail_usage(std::to_string(threads) + " threads are too many, at most " + std::to_string(kMostThreads) +
               " are possible");
  try {
    for (int i = 1; i < threads; ++i) team_->workers.emplace_back([team = team_.get(), i] { team->work(i); });
  } catch (const std::system_error& error) {
    const size_t started = team_->workers.size() + 1;
    team_->dismiss();  // a running thread must be joined before the team goes
    fail_unsupported("cannot start " + std::to_string(threads) + " threads, only " + std::to_string(started) +
                     ": " + error.what());
  }
}

ThreadPool::~ThreadPool() { team_->dismiss(); }

int ThreadPool::size() const { return static_cast<int>(team_->workers.size()) + 1; }

void ThreadPool::run_erased(Task task, void* context) {
  Team& team = *team_;
  if (team.workers.empty()) return task(context, 0);
  team.task = task;
  team.context = context;
  team.pending.store(static_cast<int>(team.workers.size()), std::memory_order_relaxed);
  team.announce();
  task(context, 0);
  for (int spin = 0; team.pending.load(std::memory_order_acquire) != 0; ++spin) {
    // A worker that was descheduled needs the core we are spinning on.
    if (spin < kSpins)
      relax();
    else
      std::this_thread::yield();
  }
}

}  // namespace octavo
