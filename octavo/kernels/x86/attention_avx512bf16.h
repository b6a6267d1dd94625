// SPDX-License-Identifier: Apache-2.0
// The two passes of attention through VDPBF16PS (see attention_variants.h), for units that takes_bf16().
#pragma once
#include "octavo/kernels/attention_variants.h"

namespace octavo::avx512 {

constexpr int64_t kDotRowTile = 256;

size_t dot_forward_scratch(const AttentionUnit& u);
size_t dot_backward_scratch(const AttentionUnit& u);
uint32_t dot_forward(const AttentionUnit& u, void* scratch);
void dot_backward(const AttentionUnit& u, void* scratch);

}  // namespace octavo::avx512
