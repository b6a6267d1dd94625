// SPDX-License-Identifier: Apache-2.0
// What an implementation of attention provides. The loop over units, the threads and the workspace are in
// attention.cc; a variant only computes one unit with one thread's scratch, so it cannot depend on the size
// of the team. Plain data only, because files for a particular instruction set include this.
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

/// One (sequence, key/value head). The query heads that share the key/value head are rows of one problem,
/// which reads each key and value once for all of them: row r is query r / group of query head r % group of
/// the group. Rows are thereby sorted by what they see: row r sees keys 0 .. r / group + kv_len - q_len.
struct AttentionUnit {
  int64_t q_len = 0, kv_len = 0, group = 1, head_dim = 0;
  float scale = 0;
  bool bf16 = false;       ///< all matrices, else fp32
  bool one_order = false;  ///< no other kernel for a few rows
  bool sqrt_softmax = false;

  /// Pointers to the first element of the sequence and (first) head; strides between tokens in elements. The
  /// heads of a group are head_dim apart.
  const void *q = nullptr, *k = nullptr, *v = nullptr;
  int64_t q_stride = 0, k_stride = 0, v_stride = 0;
  void* out = nullptr;  ///< written by forward, read by backward
  int64_t out_stride = 0;
  float* lse = nullptr;  ///< [group, q_len]; written by forward (or none), read by backward

  int64_t first_row = 0;  ///< forward only: of row_tile rows

  const void* dout = nullptr;  ///< from here on backward only
  void *dq = nullptr, *dk = nullptr, *dv = nullptr;
  int64_t dout_stride = 0, dq_stride = 0, dk_stride = 0, dv_stride = 0;
};

struct AttentionVariant {
  int64_t row_tile;  ///< rows of a forward unit
  /// Whether it is made for such units; only sizes, scale and format are read. Null: for all.
  bool (*takes)(const AttentionUnit&);
  /// Bytes; of the unit only the sizes are read.
  size_t (*forward_scratch)(const AttentionUnit&);
  size_t (*backward_scratch)(const AttentionUnit&);
  /// Rows [first_row, first_row + row_tile) as far as they exist. Returns max |out| as stored, as FP32 bits:
  /// their order is that of the numbers, with NaN on top.
  uint32_t (*forward)(const AttentionUnit&, void* scratch);
  /// All rows.
  void (*backward)(const AttentionUnit&, void* scratch);
};

extern const AttentionVariant kAttentionRef;
extern const AttentionVariant kAttentionAvx2;
extern const AttentionVariant kAttentionAvx512;
extern const AttentionVariant kAttentionAvx512Bf16;
extern const AttentionVariant kAttentionAmx;

}  // namespace octavo
