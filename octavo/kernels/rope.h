// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// Rotary positions in Hugging Face's half-split layout: element i of a head is paired with i + head_dim/2.
/// In place on x [rows, heads * head_dim] (fp32 or bf16). cos, sin: [positions, head_dim/2]; positions[row]
/// picks the row of the tables. `inverse` rotates back (the backward pass). Source: arXiv 2104.09864,
/// section 3.4.2.
void rope(Matrix x, int64_t heads, int64_t head_dim, const float* cos, const float* sin,
          const int32_t* positions, bool inverse, ThreadPool& pool);

}  // namespace octavo
