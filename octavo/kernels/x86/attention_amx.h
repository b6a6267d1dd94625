// SPDX-License-Identifier: Apache-2.0
// The two passes of attention through AMX (see attention_variants.h), for units that takes_bf16().
#pragma once
#include "octavo/kernels/attention_variants.h"

namespace octavo::avx512 {

constexpr int64_t kAmxRowTile = 256;

size_t amx_forward_scratch(const AttentionUnit& u);
size_t amx_backward_scratch(const AttentionUnit& u);
uint32_t amx_forward(const AttentionUnit& u, void* scratch);
void amx_backward(const AttentionUnit& u, void* scratch);

}  // namespace octavo::avx512
