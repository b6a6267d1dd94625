// SPDX-License-Identifier: Apache-2.0
// The sum over ranks of what each of them holds of one tensor.
#pragma once
#include <cstdint>
#include <span>

#include "octavo/base/thread_pool.h"
#include "octavo/kernels/stored.h"

namespace octavo {

/// In which numbers contributions are added. The last two are what a collective does that sums in the format
/// it sends (arXiv 2310.18313, section 2.1): every sum of two is rounded to it, nearest even, and saturates.
enum class CodeSum : uint8_t {
  fp32,   ///< in FP32, in the order of ranks
  chain,  ///< ((0 + 1) + 2) + ..., as around a ring
  tree    ///< pairs, pairs of pairs, ...: (0 + 1) + (2 + 3); one without a partner moves up as it is
};

/// out = encode(sum of parts * factor). parts[i]: the n elements of rank i in `format`, any with a sign; all
/// by one scale, in units of which the sum is, and so is out.scale: 1 keeps it. `out` may be one of the parts
/// when its elements are as wide. rule.first: where element 0 stands in the whole tensor, for stochastic
/// rounding of pieces that are summed on different ranks.
///
/// amax is that of sum * factor in FP32, before it is rounded to `out`. saturated counts elements of `out`
/// that are the largest finite number, and sums of two that were rounded to it (not of bf16 and fp32); a sum
/// that is itself what `out` holds (same format, scale 1, factor 1) counts once. Same bits for any team. A
/// sum that is NaN has no sign, whatever that of the parts.
Encoded sum_codes(std::span<const void* const> parts, Format format, int64_t n, CodeSum how, float factor,
                  const Stored& out, const CodeRule& rule, ThreadPool& pool);

}  // namespace octavo
