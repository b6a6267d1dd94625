// SPDX-License-Identifier: Apache-2.0
// What this machine can do right now, measured in the same process as what is compared with it: a fixed
// figure would be wrong, as clocks and neighbours change within seconds.
#pragma once
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/gemm.h"

namespace octavo {

/// An arithmetic unit: FP32 FMA of the widest vectors allowed by max_isa(), VDPBF16PS, TDPBF16PS.
enum class PeakKind { fma_fp32, dot_bf16, amx_bf16 };

const char* to_string(PeakKind kind);

/// Operations a second (a multiply and an add are two) of the team in a loop on registers alone: the best of
/// several runs of about 10 ms. 0 when the CPU lacks the unit, max_isa() forbids it, or no kernel was
/// compiled for it.
double peak_flops(PeakKind kind, ThreadPool& pool);

/// Bytes a second the team reads from 256 MiB or more of fresh memory, best of several runs. Allocates; for
/// benchmarks.
double peak_dram_read(ThreadPool& pool);

/// The unit that the variant gemm() would choose for these arguments runs on. False for the reference.
bool gemm_peak_kind(const GemmArgs& args, PeakKind& kind);
/// The same by name of the variant, also one of attention.
bool gemm_peak_kind(const std::string& variant, PeakKind& kind);

}  // namespace octavo
