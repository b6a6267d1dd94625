// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/peak.h"

#include <gtest/gtest.h>

#include "octavo/base/cpu.h"

namespace octavo {
namespace {

TEST(Peak, IsZeroExactlyWhereTheUnitIsMissingOrForbidden) {
  ThreadPool pool(1);
  const Isa before = max_isa();
  for (const Isa cap : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx}) {
    set_max_isa(cap);
    const bool compiled = gemm_variants().size() > 1 || max_isa() == Isa::scalar;
    if (!compiled) GTEST_SKIP() << "built without x86 kernels";
    EXPECT_EQ(peak_flops(PeakKind::fma_fp32, pool) > 0, max_isa() >= Isa::avx2);
    EXPECT_EQ(peak_flops(PeakKind::dot_bf16, pool) > 0, max_isa() >= Isa::avx512bf16);
    EXPECT_EQ(peak_flops(PeakKind::amx_bf16, pool) > 0, max_isa() >= Isa::amx);
    set_max_isa(Isa::amx);
  }
  set_max_isa(before);
}

TEST(Peak, FiguresArePhysical) {
  ThreadPool pool(1);
  // Beyond these a loop was optimized away: 2^43 is four times what one core of today does with AMX.
  for (const PeakKind kind : {PeakKind::fma_fp32, PeakKind::dot_bf16, PeakKind::amx_bf16})
    EXPECT_LT(peak_flops(kind, pool), 0x1p43) << to_string(kind);
  const double read = peak_dram_read(pool);
  EXPECT_GT(read, 1e8);
  EXPECT_LT(read, 1e12);
}

TEST(Peak, EveryVariantButTheReferenceHasItsUnit) {
  for (const std::string& variant : gemm_variants()) {
    PeakKind kind;
    EXPECT_EQ(gemm_peak_kind(variant, kind), variant != "ref") << variant;
  }
}

}  // namespace
}  // namespace octavo
