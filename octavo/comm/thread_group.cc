// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/thread_group.h"

#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/comm/watchdog.h"

namespace octavo {

struct ThreadGroup::State {
  // What one rank has for another: offered by the sender, copied by the receiver, then empty again.
  struct Cell {
    std::span<const std::byte> data;
    bool offered = false;
  };

  explicit State(int n) : ranks(n), cells(static_cast<size_t>(n * n)), left(static_cast<size_t>(n)) {}
  Cell& cell(int from, int to) { return cells[static_cast<size_t>(from * ranks + to)]; }

  const int ranks;
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<Cell> cells;
  std::vector<bool> left;
};

namespace {

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<ThreadGroup::State> state, int rank)
      : state_(std::move(state)), rank_(rank) {}
  ~ThreadTransport() override { leave(); }

  int rank() const override { return rank_; }
  int size() const override { return state_->ranks; }
  std::string host() const override { return host_name(); }
  void close() override { leave(); }
  void abort(int) noexcept override {}

  void transfer(SendParts out, ReceiveParts in, Progress& progress) override {
    State& state = *state_;
    std::unique_lock lock(state.mutex);
    for (int p = 0; p < state.ranks; ++p) {
      const auto i = static_cast<size_t>(p);
      if (p == rank_) continue;
      progress.expect(p, !in[i].empty(), !out[i].empty());
      if (!out[i].empty()) state.cell(rank_, p) = {out[i], true};
    }
    state.changed.notify_all();
    try {
      move_all(out, in, progress, lock);
    } catch (const TransportFailure&) {
      // Nobody may copy from our memory after this.
      if (!lock.owns_lock()) lock.lock();
      for (int p = 0; p < state.ranks; ++p) state.cell(rank_, p) = {};
      throw;
    }
  }

 private:
  using State = ThreadGroup::State;

  void move_all(SendParts out, ReceiveParts in, Progress& progress, std::unique_lock<std::mutex>& lock) {
    State& state = *state_;
    std::vector<bool> receiving(in.size()), sending(in.size());
    for (size_t p = 0; p < in.size(); ++p) {
      receiving[p] = p != static_cast<size_t>(rank_) && !in[p].empty();
      sending[p] = p != static_cast<size_t>(rank_) && !out[p].empty();
    }
    for (;;) {
      bool moved = false, waiting = false;
      for (int p = 0; p < state.ranks; ++p) {
        const auto i = static_cast<size_t>(p);
        if (receiving[i] && state.cell(p, rank_).offered) {
          take(state.cell(p, rank_), p, in[i]);
          receiving[i] = false;
          progress.received(p);
          moved = true;
        }
        if (sending[i] && !state.cell(rank_, p).offered) {
          sending[i] = false;
          progress.sent(p);
          moved = true;
        }
        if ((receiving[i] || sending[i]) && state.left[i])
          throw TransportFailure("rank " + std::to_string(p) + " has left");
        waiting = waiting || receiving[i] || sending[i];
      }
      if (moved) state.changed.notify_all();
      if (!waiting) return;
      if (progress.ending()) throw TransportFailure("the job is being ended");
      if (!moved) state.changed.wait_for(lock, std::chrono::milliseconds(20));
    }
  }

  // Under the lock: the ranks of a test are few and their messages small.
  static void take(State::Cell& cell, int from, std::span<std::byte> to) {
    if (cell.data.size() != to.size())
      throw TransportFailure("rank " + std::to_string(from) + " sends " + std::to_string(cell.data.size()) +
                             " bytes, " + std::to_string(to.size()) + " were expected");
    std::memcpy(to.data(), cell.data.data(), to.size());
    cell = {};
  }

  void leave() {
    std::lock_guard lock(state_->mutex);
    state_->left[static_cast<size_t>(rank_)] = true;
    state_->changed.notify_all();
  }

  std::shared_ptr<State> state_;
  int rank_;
};

}  // namespace

ThreadGroup::ThreadGroup(int ranks) : state_(std::make_shared<State>(ranks)) {}
ThreadGroup::~ThreadGroup() = default;

std::unique_ptr<Communicator> ThreadGroup::open(int rank, CommOptions options) const {
  options.check = true;
  if (!options.end) options.end = [](const std::string&) {};
  return std::make_unique<Communicator>(
      [&](Progress&) { return std::make_unique<ThreadTransport>(state_, rank); }, options);
}

void ThreadGroup::run(int ranks, const std::function<void(Communicator&)>& body, const CommOptions& options) {
  const ThreadGroup group(ranks);
  std::mutex mutex;
  std::exception_ptr first, consequence;  // of another rank's failure, as far as one can tell
  std::vector<std::thread> threads;
  const auto keep = [&](std::exception_ptr& where) {
    std::lock_guard lock(mutex);
    if (!where) where = std::current_exception();
  };
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      std::unique_ptr<Communicator> communicator;
      try {
        communicator = group.open(rank, options);
        body(*communicator);
        communicator->close();
      } catch (const Error& error) {
        // Before the communicator goes, which lets the others fail too.
        keep(error.code() == ExitCode::communication ? consequence : first);
      } catch (...) {
        keep(first);
      }
    });
  for (std::thread& thread : threads) thread.join();
  if (first || consequence) std::rethrow_exception(first ? first : consequence);
}

}  // namespace octavo
