// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/watchdog.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>

#include "collective_checks.h"
#include "error_of.h"
#include "octavo/base/stopwatch.h"
#include "octavo/comm/comm_thread.h"
#include "octavo/comm/faulty_transport.h"
#include "octavo/comm/thread_group.h"

namespace octavo {
namespace {

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// All ranks but one wait; the message of whoever was first comes as the error.
std::string message_of(int ranks, const CommOptions& options,
                       const std::function<void(Communicator&)>& body) {
  return error_of([&] { ThreadGroup::run(ranks, body, options); }, ExitCode::communication);
}

// What each rank would have printed before ending its process.
struct Messages {
  std::mutex mutex;
  std::vector<std::string> all;
  void add(const std::string& message) {
    std::lock_guard lock(mutex);
    all.push_back(message);
  }
  std::string of_rank(int rank) const {
    for (const std::string& message : all)
      if (message.starts_with("rank " + std::to_string(rank) + " of ")) return message;
    return "";
  }
};

TEST(Watchdog, NamesTheRankThatHangsAndWhatWaits) {
  CommOptions options;
  options.deadline = 0.3;
  options.fault = "rank=2,at=4,kind=hang";
  Stopwatch watch;
  std::atomic<int> calls{0};
  Messages messages;
  options.end = [&](const std::string& message) { messages.add(message); };
  const std::string thrown = message_of(4, options, [&](Communicator& comm) {
    for (int step = 0; step < 10; ++step) {
      barrier(comm, {.role = Traffic::weight_grad, .operation = "all-to-all", .step = step, .bucket = 3});
      if (comm.rank() == 0) ++calls;
    }
  });
  EXPECT_EQ(calls, 3) << "exchange 4 is the one that hangs";
  EXPECT_LT(watch.seconds(), 5);
  EXPECT_GE(watch.seconds(), 0.3);
  EXPECT_FALSE(thrown.empty());
  EXPECT_EQ(messages.all.size(), 4u) << "once for each rank";
  const std::string waits = messages.of_rank(0), host = "(host " + host_name() + ")";
  // Either its own time is up, or it learns that a rank whose time was up has left.
  EXPECT_TRUE(contains(waits, "rank 0 of 4 " + host + ": all-to-all of weight gradients, bucket 3, step 3"))
      << waits;
  EXPECT_TRUE(contains(waits, "for rank 2 " + host)) << waits;
  EXPECT_FALSE(contains(waits, "rank 1") || contains(waits, "rank 3")) << waits;
  EXPECT_TRUE(contains(waits, "#1-3 all-to-all of weight gradients, bucket 3, steps 0-2: sent 9 bytes"))
      << waits;
  const std::string timed_out =
      *std::find_if(messages.all.begin(), messages.all.end(),
                    [](const std::string& m) { return contains(m, "has waited 0."); });
  EXPECT_FALSE(timed_out.empty());
}

TEST(Watchdog, ALongExchangeWithinTheDeadlineIsNoFault) {
  CommOptions options;
  options.deadline = 2;
  options.fault = "rank=1,at=2,kind=delay,seconds=0.3";
  Stopwatch watch;
  ThreadGroup::run(
      3, [](Communicator& comm) { EXPECT_EQ(check_collectives(comm), ""); }, options);
  EXPECT_GE(watch.seconds(), 0.3);
}

TEST(Watchdog, SaysWhereItIsStuckSending) {
  CommOptions options;
  options.deadline = 0.3;
  const std::string message = message_of(2, options, [](Communicator& comm) {
    Bytes data(100);
    if (comm.rank() == 0)
      send(comm, data, 1, {.role = Traffic::state});
    else
      std::this_thread::sleep_for(std::chrono::milliseconds(700));
  });
  // With the order check its header is what waits, in both directions.
  EXPECT_TRUE(contains(message, "rank 0 of 2")) << message;
  EXPECT_TRUE(contains(message, "send of state, has waited 0.")) << message;

  Progress progress;
  progress.resize(3);
  progress.begin(1, {.operation = "all-to-all"}, 0);
  progress.expect(1, true, true);
  progress.expect(2, true, true);
  progress.sent(1);
  progress.received(2);
  Watchdog watchdog(progress, {.deadline = 0});
  watchdog.introduce(0, {"a", "b", "c"});
  EXPECT_EQ(watchdog.missing(progress.snapshot()), " for rank 1 (host b) and to send to rank 2 (host c)");
  progress.received(1);
  EXPECT_EQ(watchdog.missing(progress.snapshot()), " to send to rank 2 (host c)");
  progress.sent(2);
  EXPECT_EQ(watchdog.missing(progress.snapshot()), " in a call that does not come back");
}

TEST(Watchdog, SeesACallThatNeverComesBack) {
  // A transport that starts for ever, as MPI_Init would.
  CommOptions options;
  options.deadline = 0.1;
  options.start = 0;
  std::atomic<bool> ended{false};
  std::string message;
  options.end = [&](const std::string& text) {
    message = text;
    ended = true;
  };
  const std::string thrown = error_of(
      [&] {
        Communicator comm(
            [&](Progress&) -> std::unique_ptr<Transport> {
              while (!ended) std::this_thread::sleep_for(std::chrono::milliseconds(1));
              fail_unsupported("given up");
            },
            options);
      },
      ExitCode::unsupported);
  EXPECT_EQ(thrown, "given up");
  EXPECT_TRUE(contains(
      message, "a rank on host " + host_name() +
                   ": the start of the communication, has waited 0.1 s in a call that does not come back\n"))
      << message;
}

TEST(Watchdog, ToldToStopWhileWaiting) {
  std::atomic<bool> stop{false};
  CommOptions options;
  options.deadline = 100;
  options.stop_grace = 0.2;
  options.stop = &stop;
  options.fault = "rank=1,at=2,kind=hang";
  Messages messages;
  options.end = [&](const std::string& message) { messages.add(message); };
  Stopwatch watch;
  message_of(2, options, [&](Communicator& comm) {
    barrier(comm, {});
    if (comm.rank() == 0) stop = true;
    barrier(comm, {.role = Traffic::weight, .operation = "all-gather", .step = 8});
  });
  EXPECT_LT(watch.seconds(), 5);
  ASSERT_EQ(messages.all.size(), 2u);
  const std::string waits = messages.of_rank(0), hangs = messages.of_rank(1);
  EXPECT_TRUE(contains(waits, "all-gather of weights, step 8")) << waits;
  EXPECT_TRUE(contains(waits, " for rank 1 (host ")) << waits;
  EXPECT_TRUE(contains(waits, "told to stop while ") || contains(hangs, "told to stop while "))
      << waits << hangs;
  EXPECT_TRUE(contains(hangs, "all-gather of weights, step 8")) << hangs;
}

TEST(Watchdog, ToldToStopButNothingWaits) {
  std::atomic<bool> stop{true};
  CommOptions options;
  options.stop_grace = 0.2;
  options.stop = &stop;
  ThreadGroup::run(
      2,
      [](Communicator& comm) {
        std::this_thread::sleep_for(std::chrono::milliseconds(500));  // saving, say
        EXPECT_EQ(check_collectives(comm), "");
      },
      options);
}

TEST(Watchdog, OperationsInARowShareALine) {
  std::vector<Progress::Operation> operations;
  for (int64_t i = 0; i < 6; ++i)
    operations.push_back(
        {i,
         {i < 4 ? Traffic::weight_grad : Traffic::weight, i < 4 ? "all-to-all" : "all-gather", i / 2, i % 2},
         10,
         0,
         {},
         0.25});
  EXPECT_EQ(operations_text(operations),
            "  #0-3 all-to-all of weight gradients, buckets 0-1, steps 0-1: sent 40 bytes, 1.000 s\n"
            "  #4-5 all-gather of weights, buckets 0-1, step 2: sent 20 bytes, 0.500 s\n");
}

TEST(Progress, KeepsTheLastOperations) {
  Progress progress;
  progress.resize(1);
  for (int64_t i = 0; i < 200; ++i) {
    progress.begin(i, {.operation = "x"}, 0);
    progress.end();
  }
  const Progress::Snapshot s = progress.snapshot();
  ASSERT_EQ(s.last.size(), 64u);
  EXPECT_EQ(s.last.front().number, 136);
  EXPECT_EQ(s.last.back().number, 199);
  EXPECT_FALSE(s.active);
}

// Without options.end the process ends: in a child.
TEST(WatchdogDeathTest, EndsTheProcessWithItsCode) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(
      {
        Progress progress;
        progress.resize(2);
        Watchdog watchdog(progress, {.deadline = 0.1});
        watchdog.introduce(0, {"a", "b"});
        progress.begin(17, {.role = Traffic::weight_grad, .operation = "all-to-all", .step = 17}, 0);
        progress.expect(1, true, false);
        for (;;) std::this_thread::sleep_for(std::chrono::seconds(1));  // a call that hangs
      },
      testing::ExitedWithCode(5),
      "octavo: rank 0 of 2 \\(host a\\): all-to-all of weight gradients, step 17, has waited 0.1 s for rank "
      "1 \\(host b\\)");
}

TEST(FaultDeathTest, ExitAndKill) {
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  const auto run = [](const char* fault) {
    CommOptions options;
    options.fault = fault;
    ThreadGroup::run(
        2, [](Communicator& comm) { barrier(comm, {}); }, options);
  };
  EXPECT_EXIT(run("rank=1,at=1,kind=exit"), testing::ExitedWithCode(3), "");
  EXPECT_EXIT(run("rank=1,at=1,kind=kill"), testing::KilledBySignal(SIGKILL), "");
}

TEST(Fault, AFlippedBitHasAnotherChecksum) {
  CommOptions options;
  options.fault = "rank=1,at=2,kind=flip";
  int done = 0;
  const std::string error = error_of(
      [&] {
        ThreadGroup::run(
            2,
            [&](Communicator& comm) {
              for (int i = 1; i <= 3; ++i) {
                const std::vector<uint32_t> all =
                    all_gather_value(comm, uint32_t{8}, {.role = Traffic::scale, .step = i});
                EXPECT_EQ(all, std::vector<uint32_t>({8, 8}));
                if (comm.rank() == 1) done = i;
              }
            },
            options);
      },
      ExitCode::communication);
  EXPECT_EQ(done, 1);
  EXPECT_TRUE(contains(error, "rank 1 of 2")) << error;
  EXPECT_TRUE(contains(error, "what came from rank 0")) << error;
  EXPECT_TRUE(contains(error, "step 2")) << error;
  EXPECT_TRUE(contains(error, "is not what was sent: its 4 bytes have another checksum")) << error;
}

TEST(Fault, SpecificationsWithErrors) {
  const std::vector<Fault> faults = parse_faults("rank=1,at=12,kind=delay,seconds=0.5;rank=0,kind=hang");
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(faults[0].rank, 1);
  EXPECT_EQ(faults[0].at, 12);
  EXPECT_EQ(faults[0].seconds, 0.5);
  EXPECT_EQ(faults[1].kind, Fault::Kind::hang);
  EXPECT_EQ(faults[1].at, 1);
  const auto error = [](const std::string& text) {
    return error_of([&] { parse_faults(text); }, ExitCode::usage);
  };
  EXPECT_EQ(error("rank=1,kind=dely"), "fault: unknown kind 'dely' (did you mean 'delay'?)");
  EXPECT_EQ(error("rnk=1,kind=hang"), "fault: unknown key 'rnk' (did you mean 'rank'?)");
  EXPECT_EQ(error("rank=x,kind=hang"), "fault: rank is 'x', which is not a number from 0 on");
  EXPECT_EQ(error("rank=-1,kind=hang"), "fault: rank is '-1', which is not a number from 0 on");
  EXPECT_EQ(error("rank=1,kind=delay,seconds=nan"),
            "fault: seconds is 'nan', which is not a number from 0 on");
  EXPECT_EQ(error("rank=1"), "fault: 'rank=1' needs rank= and kind=");
  EXPECT_TRUE(contains(error(""), "is not KEY=VALUE"));
  EXPECT_TRUE(contains(error("rank=1,kind=hang;"), "is not KEY=VALUE"));
  EXPECT_TRUE(contains(error("rank=1,kind=delay"), "seconds= belongs to kind=delay"));
  EXPECT_TRUE(contains(error("rank=1,kind=hang,seconds=1"), "seconds= belongs to kind=delay"));
  CommOptions options;
  options.fault = "rank=2,kind=hang";
  EXPECT_EQ(error_of(
                [&] {
                  ThreadGroup::run(
                      2, [](Communicator&) {}, options);
                },
                ExitCode::usage),
            "fault: rank 2 of 2 ranks");
}

}  // namespace
}  // namespace octavo
