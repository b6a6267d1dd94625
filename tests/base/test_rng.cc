// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/rng.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

using Words = std::array<uint32_t, 4>;

// The known answers that come with Random123 (philox4x32, 10 rounds).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}), (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const uint32_t ones = 0xffffffff;
  EXPECT_EQ(philox({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, StreamsSeedsAndPositionsDiffer) {
  EXPECT_EQ(Rng(1, 2).integer(3), Rng(1, 2).integer(3));
  EXPECT_NE(Rng(1, 2).integer(3), Rng(2, 2).integer(3));
  EXPECT_NE(Rng(1, 2).integer(3), Rng(1, 3).integer(3));
  EXPECT_NE(Rng(1, 2).integer(3), Rng(1, 2).integer(4));
  EXPECT_NE(Rng(1, 2).integer(3), Rng(1 + (uint64_t{1} << 32), 2).integer(3));
  EXPECT_NE(Rng(1, 2).integer(3), Rng(1, 2).integer(3 + (uint64_t{1} << 32)));
}

TEST(Rng, MomentsOfTheDistributions) {
  const Rng rng(7);
  constexpr uint64_t kCount = 200000;
  double sum = 0, squares = 0, fourth = 0, uniform = 0;
  for (uint64_t i = 0; i < kCount; ++i) {
    const double x = rng.normal(i), u = rng.uniform(i);
    ASSERT_TRUE(u >= 0 && u < 1);
    sum += x;
    squares += x * x;
    fourth += x * x * x * x;
    uniform += u;
  }
  // Five standard errors each.
  EXPECT_NEAR(sum / kCount, 0, 0.0112);
  EXPECT_NEAR(squares / kCount, 1, 0.0158);
  EXPECT_NEAR(fourth / kCount, 3, 0.11);
  EXPECT_NEAR(uniform / kCount, 0.5, 0.0033);
}

}  // namespace
}  // namespace octavo
