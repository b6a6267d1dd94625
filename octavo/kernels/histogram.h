// SPDX-License-Identifier: Apache-2.0
// How large the numbers of a tensor are: counts in eighths of an octave, from one pass over it.
#pragma once
#include <array>
#include <bit>
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// A bin holds the magnitudes whose FP32 bits begin with its index: eight for each power of two, equally
/// wide. The largest finite number of every 8-bit format, times any power of two, lies on an edge of bins.
struct MagnitudeHistogram {
  static constexpr int kShift = 20;  ///< bits of a magnitude below its bin
  static constexpr int kBins = 1 << (31 - kShift);
  static constexpr int kFirstNormal = 1 << (23 - kShift);  ///< below: zeros and FP32 subnormals
  static constexpr int kFirstNonfinite = 0xff << (23 - kShift);
  /// The smallest magnitude of a bin.
  static constexpr float edge(int bin) { return std::bit_cast<float>(static_cast<uint32_t>(bin) << kShift); }

  std::array<int64_t, kBins> counts{};
  float amax = 0;  ///< max |x|, NaN if there is one
};

/// `x` in any format with a sign; value = element * x_scale, which fp32 and bf16 ignore. The same counts for
/// any team. Plain loops in every instruction set: scattered increments have no vector form that is faster.
MagnitudeHistogram magnitude_histogram(ConstMatrix x, ThreadPool& pool, float x_scale = 1);

}  // namespace octavo
