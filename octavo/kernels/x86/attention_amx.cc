// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/x86/attention_amx.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "octavo/kernels/x86/attention_bf16_avx512.h"
#pragma GCC diagnostic pop

namespace octavo {

constinit const AttentionVariant kAttentionAmx = {.row_tile = avx512::kAmxRowTile,
                                                  .takes = avx512::takes_bf16,
                                                  .forward_scratch = avx512::amx_forward_scratch,
                                                  .backward_scratch = avx512::amx_backward_scratch,
                                                  .forward = avx512::amx_forward,
                                                  .backward = avx512::amx_backward};

}  // namespace octavo
