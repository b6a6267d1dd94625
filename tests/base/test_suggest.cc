// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/suggest.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

TEST(Suggest, EditDistance) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("recipe", "receip"), 2);
  EXPECT_EQ(edit_distance("ab", "ba"), 1);
}

TEST(Suggest, TheNearestOrNone) {
  const std::vector<std::string> known{"bf16", "fp32", "fp8-amax", "fp8-cscale", "optim.weight_decay"};
  EXPECT_EQ(nearest("fp8-amx", known), "fp8-amax");
  EXPECT_EQ(nearest("bf61", known), "bf16");
  EXPECT_EQ(nearest("weight_decay", known), "optim.weight_decay");
  EXPECT_EQ(nearest("something-else", known), "");
  EXPECT_EQ(did_you_mean("fp8-amx", known), " (did you mean 'fp8-amax'?)");
  EXPECT_NE(did_you_mean("something-else", known).find("known: bf16, fp32"), std::string::npos);
  EXPECT_EQ(did_you_mean("x", {}), "");
}

}  // namespace
}  // namespace octavo
