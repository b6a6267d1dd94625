// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include <cmath>

#include "octavo/train/schedule.h"

namespace octavo {
namespace {

RunConfig::Optim optim(const char* schedule) {
  RunConfig::Optim o;
  o.lr = 1.0;
  o.min_lr = 0.1;
  o.warmup_steps = 4;
  o.schedule = schedule;
  return o;
}

TEST(Schedule, WarmUpIsLinearAndEndsAtThePeak) {
  for (const char* name : {"cosine", "linear", "constant"})
    for (int64_t step = 0; step < 4; ++step)
      EXPECT_DOUBLE_EQ(schedule(optim(name), step, 105), 0.25 * static_cast<double>(step + 1)) << name;
}

TEST(Schedule, ValuesAfterTheWarmUp) {
  // 101 steps from 4 to 104: the middle is 54, a quarter is 29.
  EXPECT_DOUBLE_EQ(schedule(optim("cosine"), 4, 105), 1.0);
  EXPECT_NEAR(schedule(optim("cosine"), 54, 105), 0.55, 1e-12);
  EXPECT_NEAR(schedule(optim("cosine"), 29, 105), 0.1 + 0.9 * (0.5 + std::sqrt(0.5) / 2), 1e-12);
  EXPECT_NEAR(schedule(optim("cosine"), 104, 105), 0.1, 1e-12);
  EXPECT_NEAR(schedule(optim("linear"), 29, 105), 0.775, 1e-12);
  EXPECT_NEAR(schedule(optim("linear"), 104, 105), 0.1, 1e-12);
  EXPECT_EQ(schedule(optim("constant"), 104, 105), 1.0);
}

TEST(Schedule, ShortRuns) {
  RunConfig::Optim none = optim("cosine");
  none.warmup_steps = 0;
  EXPECT_EQ(schedule(none, 0, 1), 1.0);
  EXPECT_DOUBLE_EQ(schedule(optim("cosine"), 1, 2), 0.5);  // still warming up
  EXPECT_TRUE(std::isfinite(schedule(optim("linear"), 4, 5)));
}

}  // namespace
}  // namespace octavo
