// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/comm_thread.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "collective_checks.h"
#include "error_of.h"
#include "octavo/comm/make_communicator.h"
#include "octavo/comm/thread_group.h"

namespace octavo {
namespace {

// `body` on `ranks` threads, each with a CommThread of its own, as processes have them.
void on_ranks(int ranks, const std::function<void(CommThread&)>& body, const CommOptions& options = {}) {
  const ThreadGroup group(ranks);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank)
    threads.emplace_back([&, rank] {
      CommThread comm([&] { return group.open(rank, options); });
      EXPECT_EQ(comm.rank(), rank);
      EXPECT_EQ(comm.size(), ranks);
      body(comm);
    });
  for (std::thread& thread : threads) thread.join();
}

TEST(CommThread, RunsInTheOrderOfPosting) {
  on_ranks(3, [](CommThread& comm) {
    std::vector<int> seen;
    std::vector<Ticket> tickets;
    for (int i = 0; i < 100; ++i)
      tickets.push_back(comm.post([&seen, i](Communicator& c) {
        const std::vector<int> all = all_gather_value(c, i, {});
        seen.push_back(all[0] + all[1] + all[2]);
      }));
    for (const Ticket& ticket : tickets) ticket.wait();
    ASSERT_EQ(seen.size(), 100u);
    for (int i = 0; i < 100; ++i) EXPECT_EQ(seen[static_cast<size_t>(i)], 3 * i);
    EXPECT_TRUE(tickets.back().done());
    std::string wrong;
    comm.run([&](Communicator& c) { wrong = check_collectives(c); });
    EXPECT_EQ(wrong, "");
  });
}

TEST(CommThread, OneThreadMakesAllCalls) {
  std::thread::id opened, called;
  {
    CommThread comm([&] {
      opened = std::this_thread::get_id();
      return self_communicator();
    });
    comm.run([&](Communicator&) { called = std::this_thread::get_id(); });
  }
  EXPECT_EQ(opened, called);
  EXPECT_NE(opened, std::this_thread::get_id());
}

TEST(CommThread, FinishesWhatWasPosted) {
  std::atomic<int> done{0};
  {
    CommThread comm([] { return self_communicator(); });
    for (int i = 0; i < 20; ++i) comm.post([&](Communicator&) { ++done; });
  }
  EXPECT_EQ(done, 20);
}

TEST(CommThread, AfterAnErrorEveryTicketFailsWithIt) {
  CommThread comm([] { return self_communicator(); });
  const Ticket good = comm.post([](Communicator&) {});
  const Ticket bad = comm.post([](Communicator&) { fail_data("wrong bytes"); });
  bool ran = false;
  const Ticket later = comm.post([&](Communicator&) { ran = true; });
  good.wait();
  EXPECT_EQ(error_of([&] { bad.wait(); }), "wrong bytes");
  EXPECT_EQ(error_of([&] { bad.wait(); }), "wrong bytes") << "and again";
  EXPECT_EQ(error_of([&] { later.wait(); }), "wrong bytes");
  EXPECT_EQ(error_of([&] { comm.run([&](Communicator&) { ran = true; }); }), "wrong bytes");
  EXPECT_FALSE(ran);
  Ticket().wait();
  EXPECT_TRUE(Ticket().done());
}

TEST(CommThread, AnErrorOfOpeningArrives) {
  EXPECT_EQ(
      error_of([] { CommThread comm([]() -> std::unique_ptr<Communicator> { fail_data("no such host"); }); }),
      "no such host");
}

TEST(CommThread, AHangingRankEndsTheWaitOfAll) {
  CommOptions options;
  options.deadline = 0.3;
  options.fault = "rank=1,at=2,kind=hang";
  std::atomic<int> failed{0};
  on_ranks(
      3,
      [&](CommThread& comm) {
        comm.run([](Communicator& c) { barrier(c, {}); });
        const Ticket ticket = comm.post([](Communicator& c) { barrier(c, {.role = Traffic::weight}); });
        const std::string message = error_of([&] { ticket.wait(); }, ExitCode::communication);
        failed += message.find("barrier of weights") != std::string::npos;
      },
      options);
  EXPECT_EQ(failed, 3);
}

// The rank that aborts does not wait for its own pending exchange, and the others learn of it.
TEST(CommThread, AbortReachesAllRanks) {
  std::atomic<int> failed{0};
  std::atomic<bool> aborted{false};
  on_ranks(2, [&](CommThread& comm) {
    const auto job = [](Communicator& c) { barrier(c, {.role = Traffic::state}); };
    comm.run(job);
    if (comm.rank() == 0) {
      const Ticket pending = comm.post(job);
      const std::string message = error_of([&] { comm.abort(4, "out of space"); }, ExitCode::communication);
      EXPECT_TRUE(message.starts_with("rank 0 of 2 (host ")) << message;
      EXPECT_NE(message.find("): out of space\n"), std::string::npos) << message;
      failed += !error_of([&] { pending.wait(); }, ExitCode::communication).empty();
      aborted = true;
    } else {
      while (!aborted) std::this_thread::yield();
      const std::string message = error_of([&] { comm.run(job); }, ExitCode::communication);
      EXPECT_NE(message.find("barrier of state failed, waiting for rank 0"), std::string::npos) << message;
      ++failed;
    }
  });
  EXPECT_EQ(failed, 2);
}

// While an exception is under way nobody waits for ranks that may never come.
TEST(CommThread, LeavesAtOnceWhenAnExceptionIsUnderWay) {
  std::atomic<int> failed{0};
  CommOptions options;
  options.deadline = 20;
  const ThreadGroup group(2);
  std::thread other([&] {
    CommThread comm([&] { return group.open(1, options); });
    failed += !error_of([&] { comm.run([](Communicator& c) { barrier(c, {}); }); }, ExitCode::communication)
                   .empty();
  });
  EXPECT_EQ(error_of([&] {
              CommThread comm([&] { return group.open(0, options); });
              fail_data("bad shard");
            }),
            "bad shard");
  other.join();
  EXPECT_EQ(failed, 1);
}

}  // namespace
}  // namespace octavo
