// SPDX-License-Identifier: Apache-2.0
// What this machine can do right now, measured in the same process as what is compared with it: a fixed
// figure would be wrong, as clocks and neighbours change within seconds.
#pragma once
#include <cstdint>
#include <vector>

#include "octavo/base/buffer.h"
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/gemm.h"

namespace octavo {

/// An arithmetic unit: FP32 FMA of the widest vectors allowed by max_isa(), VDPBF16PS, TDPBF16PS.
enum class PeakKind { fma_fp32, dot_bf16, amx_bf16 };

const char* to_string(PeakKind kind);

/// Measures the peak of a unit again and again, so that it can be taken right before and after what is
/// compared with it.
class PeakMeter {
 public:
  PeakMeter(PeakKind kind, ThreadPool& pool);
  /// Operations a second (a multiply and an add are two) of the team in a loop on registers alone, in one run
  /// of about 5 ms. 0 when the CPU lacks the unit, max_isa() forbids it, or no kernel was compiled for it.
  double now();

 private:
  double run();
  double (*loop_)(int64_t rounds);
  ThreadPool& pool_;
  int64_t rounds_ = 1000;
  std::vector<double> done_;
};

/// Best of several runs of a PeakMeter.
double peak_flops(PeakKind kind, ThreadPool& pool);

/// The same for reading memory. Holds 256 MiB for each thread; for benchmarks.
class DramMeter {
 public:
  explicit DramMeter(ThreadPool& pool);
  /// Bytes a second in one pass over the buffer.
  double now();

 private:
  ThreadPool& pool_;
  Buffer memory_;
  std::vector<uint64_t> sums_;
};

/// Best of several passes of a DramMeter.
double peak_dram_read(ThreadPool& pool);

/// The unit that the variant gemm() would choose for these arguments runs on. False for the reference.
bool gemm_peak_kind(const GemmArgs& args, PeakKind& kind);
/// The same by name of the variant, also one of attention.
bool gemm_peak_kind(const std::string& variant, PeakKind& kind);

}  // namespace octavo
