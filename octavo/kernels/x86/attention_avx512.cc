// SPDX-License-Identifier: Apache-2.0
#include <float.h>
#include <math.h>
#include <string.h>

#include "octavo/kernels/attention_variants.h"
#include "octavo/kernels/x86/simd_avx512.h"

namespace octavo {
namespace avx512 {
namespace {
#include "octavo/kernels/x86/attention-inl.h"

#include "octavo/kernels/x86/attention_multiply-inl.h"

#include "octavo/kernels/x86/attention_forward-inl.h"

#include "octavo/kernels/x86/attention_backward_loops-inl.h"

#include "octavo/kernels/x86/attention_backward-inl.h"
#include "octavo/kernels/x86/attention_decode-inl.h"
}  // namespace
}  // namespace avx512

constinit const AttentionVariant kAttentionAvx512 = {.row_tile = avx512::kRowTile,
                                                     .takes = nullptr,
                                                     .forward_scratch = avx512::forward_scratch,
                                                     .backward_scratch = avx512::backward_scratch,
                                                     .forward = avx512::forward,
                                                     .backward = avx512::backward};

}  // namespace octavo
