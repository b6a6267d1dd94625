// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// out[r] = table[tokens[r]] (+ positions_table[positions[r]] where that table is given). Tables fp32 or
/// bf16; out fp32 or bf16.
void embedding_forward(ConstMatrix table, ConstMatrix position_table, const int32_t* tokens,
                       const int32_t* positions, Matrix out, ThreadPool& pool);

/// dtable[tokens[r]] += dout[r], dposition[positions[r]] += dout[r] (data == nullptr: none). FP32 gradients.
/// Threads own columns and walk the rows in order, so repeated tokens sum in a fixed order.
void embedding_backward(ConstMatrix dout, const int32_t* tokens, const int32_t* positions, Matrix dtable,
                        Matrix dposition, ThreadPool& pool);

}  // namespace octavo
