// SPDX-License-Identifier: Apache-2.0
// Sums and sweeps over flat memory.
#pragma once
#include <cstddef>
#include <cstdint>

#include "octavo/base/arena.h"
#include "octavo/base/thread_pool.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// Sum of squares in double, through fixed chunks of 2^16 elements: same bits for any team.
double sum_squares(const float* x, int64_t n, ThreadPool& pool);

/// out[c] += sum over rows of x[r][c] (fp32 or bf16; FP32 sums in a fixed order). The gradient of a bias.
void column_sum(ConstMatrix x, float* out, ThreadPool& pool);

/// y = x, same shape; fp32 or bf16 each.
void copy(ConstMatrix x, Matrix y, ThreadPool& pool);

/// y += x, same shape; fp32 or bf16 each.
void add(ConstMatrix x, Matrix y, ThreadPool& pool);

}  // namespace octavo
