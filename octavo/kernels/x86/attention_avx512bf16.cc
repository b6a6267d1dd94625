// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/x86/attention_avx512bf16.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "octavo/kernels/x86/attention_bf16_avx512.h"
#pragma GCC diagnostic pop

namespace octavo {

constinit const AttentionVariant kAttentionAvx512Bf16 = {.row_tile = avx512::kDotRowTile,
                                                         .takes = avx512::takes_bf16,
                                                         .forward_scratch = avx512::dot_forward_scratch,
                                                         .backward_scratch = avx512::dot_backward_scratch,
                                                         .forward = avx512::dot_forward,
                                                         .backward = avx512::dot_backward};

}  // namespace octavo
