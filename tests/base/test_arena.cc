// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <stdexcept>

namespace octavo {
namespace {

TEST(Arena, BlocksAreZeroedAlignedAndApart) {
  Arena arena;
  const size_t sizes[] = {1, 64, 65, 0, 5000000, 3};
  std::vector<Arena::Block> blocks;
  for (const size_t size : sizes) blocks.push_back(arena.reserve(size > 100 ? "large" : "small", size));
  EXPECT_EQ(arena.at<char>(blocks[0]), reinterpret_cast<char*>(kPlaceholder));
  EXPECT_EQ(arena.categories().at("small"), 64u + 64 + 128 + 0 + 64);
  EXPECT_EQ(arena.categories().at("large"), 5000000u + 63 - (5000000u + 63) % 64);
  arena.commit();
  for (size_t i = 0; i < std::size(sizes); ++i) {
    char* data = arena.at<char>(blocks[i]);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(data) % 64, 0u);
    for (size_t b = 0; b < sizes[i]; ++b) ASSERT_EQ(data[b], 0);
    std::memset(data, static_cast<int>(i) + 1, sizes[i]);
  }
  for (size_t i = 0; i < std::size(sizes); ++i)
    for (size_t b = 0; b < sizes[i]; ++b) ASSERT_EQ(arena.at<char>(blocks[i])[b], static_cast<char>(i + 1));
  EXPECT_THROW(arena.reserve("late", 1), std::logic_error);
  EXPECT_THROW(arena.commit(), std::logic_error);
}

TEST(Workspace, PlanningMeasuresWhatRunningTakes) {
  const auto use = [](Workspace& w) {
    const WorkspaceScope outer(w);
    w.take<float>(10);
    {
      const WorkspaceScope inner(w);
      w.take_bytes(1000);
    }
    const WorkspaceScope inner(w);
    w.take<double>(3);
  };
  Workspace plan;
  EXPECT_TRUE(plan.planning());
  use(plan);
  EXPECT_EQ(plan.high_water(), 64u + 1024);
  EXPECT_EQ(plan.mark(), 0u);

  Arena arena;
  const Arena::Block block = arena.reserve("workspace", plan.high_water());
  arena.commit();
  Workspace real(arena.at<void>(block), plan.high_water());
  EXPECT_FALSE(real.planning());
  use(real);
  EXPECT_EQ(real.take_bytes(64), arena.at<void>(block));
  EXPECT_THROW(real.take_bytes(plan.high_water()), std::logic_error);
}

}  // namespace
}  // namespace octavo
