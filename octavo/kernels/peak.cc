// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/peak.h"

#include <algorithm>
#include <vector>

#include "octavo/base/buffer.h"
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

double peak_flops(PeakKind kind, ThreadPool& pool) {
  const Loop loop = loop_of(kind);
  if (!loop) return 0;
  constexpr double kSeconds = 0.01;
  constexpr int kRuns = 7;
  std::vector<double> done(static_cast<size_t>(pool.size()) * 8);  // a cache line for each thread
  double best = 0;
  int64_t rounds = 1000;
  for (int run = 0; run < kRuns;) {
    const Stopwatch watch;
    pool.run([&](int thread) { done[static_cast<size_t>(thread) * 8] = loop(rounds); });
    const double seconds = watch.seconds();
    // First find how many rounds take long enough; the vector clock settles meanwhile.
    if (seconds < kSeconds / 2 && rounds < int64_t{1} << 40) {
      rounds *= 2;
      continue;
    }
    double total = 0;
    for (size_t i = 0; i < done.size(); i += 8) total += done[i];
    best = std::max(best, total / seconds);
    ++run;
  }
  return best;
}

double peak_dram_read(ThreadPool& pool) {
  // Each thread reads memory of its own, more than the caches hold.
  const size_t words = (size_t{256} << 20) / sizeof(uint64_t);
  const size_t threads = static_cast<size_t>(pool.size());
  Buffer memory(words * threads * sizeof(uint64_t));
  uint64_t* const base = memory.as<uint64_t>();
  pool.run([&](int thread) { std::fill_n(base + words * static_cast<size_t>(thread), words, uint64_t{1}); });
  std::vector<uint64_t> sums(threads * 8);
  double best = 0;
  for (int run = 0; run < 5; ++run) {
    const Stopwatch watch;
    pool.run([&](int thread) {
      sums[static_cast<size_t>(thread) * 8] = read_all(base + words * static_cast<size_t>(thread), words);
    });
    const double seconds = watch.seconds();
    if (sums[0] == words) best = std::max(best, static_cast<double>(memory.size()) / seconds);
  }
  return best;
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
