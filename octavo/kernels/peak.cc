// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/peak.h"

#include <algorithm>

#include "octavo/base/cpu.h"
#include "octavo/base/stopwatch.h"
#include "octavo/kernels/peak_loops.h"

namespace octavo {
namespace {

using Loop = double (*)(int64_t rounds);

/// nullptr when there is none to run.
Loop loop_of(PeakKind kind) {
#if defined(OCTAVO_HAVE_X86_KERNELS)
  const Isa isa = max_isa();
  switch (kind) {
    case PeakKind::fma_fp32:
      return isa >= Isa::avx512 ? peak_loop_fma_avx512 : isa >= Isa::avx2 ? peak_loop_fma_avx2 : nullptr;
    case PeakKind::dot_bf16:
      return isa >= Isa::avx512bf16 ? peak_loop_dot_avx512bf16 : nullptr;
    case PeakKind::amx_bf16:
      return isa >= Isa::amx ? peak_loop_amx : nullptr;
  }
#endif
  return nullptr;
}

/// Sum of the words, so that no read can be left out. Eight sums, to be bound by memory and not by the
/// additions.
uint64_t read_all(const uint64_t* words, size_t count) {
  uint64_t sums[8] = {};
  for (size_t i = 0; i + 8 <= count; i += 8)
    for (size_t j = 0; j < 8; ++j) sums[j] += words[i + j];
  uint64_t sum = 0;
  for (const uint64_t s : sums) sum += s;
  return sum;
}

/// Numbers of different threads are this many apart: a cache line.
constexpr size_t kLine = 8;
/// Each thread reads memory of its own, more than the caches hold.
constexpr size_t kWords = (size_t{256} << 20) / sizeof(uint64_t);

template <class Meter>
double best_of(int runs, Meter& meter) {
  double best = 0;
  for (int i = 0; i < runs; ++i) best = std::max(best, meter.now());
  return best;
}

}  // namespace

const char* to_string(PeakKind kind) {
  switch (kind) {
    case PeakKind::fma_fp32:
      return "fp32 fma";
    case PeakKind::dot_bf16:
      return "vdpbf16ps";
    case PeakKind::amx_bf16:
      return "amx bf16";
  }
  return "?";
}

PeakMeter::PeakMeter(PeakKind kind, ThreadPool& pool)
    : loop_(loop_of(kind)), pool_(pool), done_(static_cast<size_t>(pool.size()) * kLine) {}

double PeakMeter::run() {
  const Stopwatch watch;
  pool_.run([&](int thread) { done_[static_cast<size_t>(thread) * kLine] = loop_(rounds_); });
  return watch.seconds();
}

double PeakMeter::now() {
  if (!loop_) return 0;
  constexpr double kSeconds = 0.005;
  double seconds = run();
  // First find how many rounds take long enough; the vector clock settles meanwhile.
  while (seconds < kSeconds / 2 && rounds_ < int64_t{1} << 40) {
    rounds_ *= 2;
    seconds = run();
  }
  double total = 0;
  for (size_t i = 0; i < done_.size(); i += kLine) total += done_[i];
  return total / seconds;
}

double peak_flops(PeakKind kind, ThreadPool& pool) {
  PeakMeter meter(kind, pool);
  return best_of(9, meter);
}

DramMeter::DramMeter(ThreadPool& pool)
    : pool_(pool),
      memory_(static_cast<size_t>(pool.size()) * kWords * sizeof(uint64_t)),
      sums_(static_cast<size_t>(pool.size()) * kLine) {
  uint64_t* const base = memory_.as<uint64_t>();
  pool_.run(
      [&](int thread) { std::fill_n(base + kWords * static_cast<size_t>(thread), kWords, uint64_t{1}); });
}

double DramMeter::now() {
  const uint64_t* const base = memory_.as<uint64_t>();
  const Stopwatch watch;
  pool_.run([&](int thread) {
    sums_[static_cast<size_t>(thread) * kLine] =
        read_all(base + kWords * static_cast<size_t>(thread), kWords);
  });
  const double seconds = watch.seconds();
  return sums_[0] == kWords ? static_cast<double>(memory_.size()) / seconds : 0;
}

double peak_dram_read(ThreadPool& pool) {
  DramMeter meter(pool);
  return best_of(5, meter);
}

bool gemm_peak_kind(const std::string& variant, PeakKind& kind) {
  if (variant == "amx")
    kind = PeakKind::amx_bf16;
  else if (variant == "avx512bf16")
    kind = PeakKind::dot_bf16;
  else if (variant == "avx512" || variant == "avx2")
    kind = PeakKind::fma_fp32;
  else
    return false;
  return true;
}

bool gemm_peak_kind(const GemmArgs& args, PeakKind& kind) {
  return gemm_peak_kind(gemm_choice(args).variant, kind);
}

}  // namespace octavo
