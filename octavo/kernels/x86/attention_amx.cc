// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/x86/attention_amx.h"

namespace octavo {
namespace avx512 {
namespace {

/// BF16 only. A few rows would leave most of a tile unused, and keys are better read once where they lie; of
/// very long heads the tiles of keys would not stay in the cache. Scores are scaled after the search for
/// their maximum, hence the sign.
bool amx_takes(const AttentionUnit& u) {
  return u.bf16 && u.head_dim <= 256 && u.q_len * u.group > 8 && u.scale > 0;
}

}  // namespace
}  // namespace avx512

constinit const AttentionVariant kAttentionAmx = {.row_tile = avx512::kAmxRowTile,
                                                  .takes = avx512::amx_takes,
                                                  .forward_scratch = avx512::amx_forward_scratch,
                                                  .backward_scratch = avx512::amx_backward_scratch,
                                                  .forward = avx512::amx_forward,
                                                  .backward = avx512::amx_backward};

}  // namespace octavo
