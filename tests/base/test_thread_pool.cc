// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

#include "octavo/base/error.h"

namespace octavo {
namespace {

TEST(ThreadPool, ParallelForCoversEveryIndexOnce) {
  for (const int threads : {1, 2, 3, 4, 7, 16}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.size(), threads);
    for (const int64_t n : {0, 1, 2, 5, 63, 64, 65, 1000, 4097}) {
      for (const int64_t grain : {1, 2, 7, 64, 5000}) {
        std::vector<std::atomic<int>> seen(static_cast<size_t>(n));
        std::atomic<int> misaligned{0};
        pool.parallel_for(n, grain, [&](int64_t begin, int64_t end) {
          if (begin % grain != 0 || (end % grain != 0 && end != n) || begin >= end) ++misaligned;
          for (int64_t i = begin; i < end; ++i) ++seen[static_cast<size_t>(i)];
        });
        EXPECT_EQ(misaligned, 0);
        for (const auto& count : seen)
          ASSERT_EQ(count, 1) << n << " in grains of " << grain << " on " << threads;
      }
    }
  }
}

TEST(ThreadPool, RunCallsEveryThreadOnce) {
  ThreadPool pool(5);
  std::vector<int> calls(5);
  pool.run([&](int thread) { ++calls[static_cast<size_t>(thread)]; });
  EXPECT_EQ(calls, std::vector<int>(5, 1));
}

// Short sections back to back, some after a pause long enough for the workers to fall asleep.
TEST(ThreadPool, ManySections) {
  ThreadPool pool(4);
  int64_t sum[4 * 16] = {};
  for (int64_t round = 1; round <= 3000; ++round) {
    if (round % 500 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
    pool.run([&](int thread) { sum[thread * 16] += round; });
  }
  for (int thread = 0; thread < 4; ++thread) EXPECT_EQ(sum[thread * 16], 3000 * 3001 / 2);
}

TEST(ThreadPool, StartsAndEndsManyTimes) {
  std::atomic<int> calls{0};
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(3);
    if (i % 2) pool.run([&](int) { ++calls; });
  }
  EXPECT_EQ(calls, 150);
}

TEST(ThreadPool, AnAbsurdNumberIsAnError) {
  EXPECT_THROW(ThreadPool(1000000), Error);
  EXPECT_GE(ThreadPool(0).size(), 1);
}

}  // namespace
}  // namespace octavo
