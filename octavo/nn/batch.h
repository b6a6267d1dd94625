// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/base/arena.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// The tokens of one pass: `batch` sequences of `seq` tokens, row-major.
struct Batch {
  int64_t batch = 0, seq = 0;
  const int32_t* tokens = nullptr;     ///< [batch * seq]
  const int32_t* positions = nullptr;  ///< [batch * seq], position of each token in its sequence
  int64_t rows() const { return batch * seq; }
};

/// Keys and values of the tokens seen so far, for one block.
struct KvCache {
  Matrix k, v;           ///< [batch * capacity, kv_width]
  int64_t capacity = 0;  ///< rows a sequence
  int64_t length = 0;    ///< rows in use before this pass
};

}  // namespace octavo
