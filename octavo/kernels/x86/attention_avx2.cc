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
#include "octavo/kernels/x86/attention_forward-inl.h"

#include "octavo/kernels/x86/attention_backward-inl.h"
#include "octavo/kernels/x86/attention_decode-inl.h"
}  // namespace
}  // namespace avx2

constinit const AttentionVariant kAttentionAvx2 = {avx2::kRowTile, avx2::forward_scratch,
                                                   avx2::backward_scratch, avx2::forward, avx2::backward};

}  // namespace octavo
