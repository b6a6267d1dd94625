// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/registry.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

TEST(Registry, FollowsMaxIsaAtEachCall) {
  set_max_isa(Isa::scalar);
  EXPECT_STREQ(row_kernels().name, "ref");
  EXPECT_EQ(kernel_variants().back(), "ref");
  for (const Isa isa : {Isa::avx2, Isa::avx512}) {
    if (isa > cpu_isa()) continue;
    set_max_isa(isa);
    EXPECT_STREQ(row_kernels().name, kernel_variants().size() > 1 ? to_string(isa) : "ref");
  }
  set_max_isa(cpu_isa());
}

TEST(Registry, SaysWhyAVariantDoesNotRun) {
  set_max_isa(Isa::scalar);
  int used = 0;
  for (const std::string& line : kernel_variants()) {
    if (line.find("not used") == std::string::npos)
      ++used;
    else
      EXPECT_NE(line.find(cpu_isa() == Isa::scalar ? "this CPU" : "OCTAVO_MAX_ISA allows scalar"),
                std::string::npos)
          << line;
  }
  EXPECT_EQ(used, 1);
  set_max_isa(cpu_isa());
}

}  // namespace
}  // namespace octavo
