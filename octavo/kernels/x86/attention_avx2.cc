// SPDX-License-Identifier: Apache-2.0
#include <float.h>
#include <math.h>
#include <string.h>

#include "octavo/kernels/attention_variants.h"
#include "octavo/kernels/x86/simd_avx2.h"

namespace octavo {
namespace avx2 {
namespace {
#include "octavo/kernels/x86/attention-inl.h"

#include "octavo/kernels/x86/attention_multiply-inl.h"

#include "octavo/kernels/x86/attention_forward-inl.h"

#include "octavo/kernels/x86/attention_backward_loops-inl.h"

#include "octavo/kernels/x86/attention_backward-inl.h"
#include "octavo/kernels/x86/attention_decode-inl.h"
}  // namespace
}  // namespace avx2

constinit const AttentionVariant kAttentionAvx2 = {.row_tile = avx2::kRowTile,
                                                   .takes = nullptr,
                                                   .forward_scratch = avx2::forward_scratch,
                                                   .backward_scratch = avx2::backward_scratch,
                                                   .forward = avx2::forward,
                                                   .backward = avx2::backward};

}  // namespace octavo
