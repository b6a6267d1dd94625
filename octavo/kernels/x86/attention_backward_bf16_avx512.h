// SPDX-License-Identifier: Apache-2.0
// What the backward passes on BF16 through VDPBF16PS and AMX share: the inputs of a tile of rows beside its
// operands, and results that are computed as [head_dim][row].
#pragma once
#include "octavo/kernels/x86/attention_bf16_avx512.h"

namespace octavo::avx512 {
namespace {

#include "octavo/kernels/x86/attention_backward_loops-inl.h"

/// 16 columns of 16 sums, `stride` apart, to or onto (unless `first`) the sums that wait in where[column].
/// Columns without are left out.
inline void add_columns(const float* x, int64_t stride, const Halves* where, int64_t d, int64_t head_dim,
                        bool first) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = bits(load(x + i * stride)).v;
  transpose16(v);
  const auto add = [&](int i, auto used) OCTAVO_LAMBDA {
    const F32 sum = from_bits(U32{v[i]});
    store_sum(where[i], d, first ? sum : load_sum(where[i], d, used) + sum, used);
  };
  for (int i = 0; i < 16; ++i) {
    if (!where[i].high) continue;
    if (head_dim - d >= kLanes)
      add(i, All{});
    else
      add(i, First(head_dim - d));
  }
}

inline float row_dot(const uint16_t* a, const uint16_t* b, int64_t width) {
  __m512 total = _mm512_setzero_ps();
  for (int64_t d = 0; d < width; d += 32) {
    const __mmask32 there = static_cast<__mmask32>(lanes(least(32, width - d)));
    total = _mm512_dpbf16_ps(total, reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(there, a + d)),
                             reinterpret_cast<__m512bh>(_mm512_maskz_loadu_epi16(there, b + d)));
  }
  return sum(F32{total});
}

/// lse times log2(e), row_sum = dout · out and keys seen of each row, up to whole blocks.
inline void load_statistics(const AttentionUnit& u, int64_t r0, int64_t rows, float* lse, float* row_sum,
                            int32_t* seen) {
  const auto dout = query_rows<const uint16_t>(u, u.dout, u.dout_stride, r0, rows);
  const auto out = query_rows<const uint16_t>(u, u.out, u.out_stride, r0, rows);
  count_seen(u, r0, rows, seen);
  for (int64_t r = 0; r < padded_to_blocks(rows); r += kBlock) {
    const uint16_t *a[kBlock], *b[kBlock];
    dout.find(r, kBlock, a);
    out.find(r, kBlock, b);
    for (int64_t i = 0; i < kBlock; ++i) {
      row_sum[r + i] = a[i] ? row_dot(a[i], b[i], u.head_dim) : 0;
      lse[r + i] = a[i] ? u.lse[lse_index(u, r0 + r + i)] * 1.44269504f : 0;
    }
  }
}

/// Sums of dq of the block of 32 rows from r on, in the order of row_in_column: [head_dim][row] from `sums`
/// on, up to whole vectors of head_dim. Stored as results.
inline void store_dq_block(const AttentionUnit& u, const float* sums, int64_t stride, int64_t r0, int64_t r,
                           int64_t rows) {
  uint16_t *row[kBlock], *in_order[kBlock];
  query_rows<uint16_t>(u, u.dq, u.dq_stride, r0, rows).find(r, kBlock, row);
  for (int64_t c = 0; c < kBlock; ++c) in_order[c] = row[row_in_column(c)];
  for (int64_t half = 0; half < kBlock; half += kLanes)
    for (int64_t d = 0; d < u.head_dim; d += kLanes)
      store_columns(sums + d * stride + half, stride, splat(u.scale), in_order + half, d, u.head_dim,
                    splat(0u));
}

/// The same to sums that wait.
inline void add_dq_block(const AttentionUnit& u, const float* sums, int64_t stride, int64_t r0, int64_t r,
                         int64_t rows, bool first) {
  Halves in_order[kBlock];
  for (int64_t c = 0; c < kBlock; ++c) {
    const int64_t at = r + row_in_column(c);
    in_order[c] = at < rows ? dq_halves(u, r0 + at) : Halves{nullptr, nullptr};
  }
  for (int64_t half = 0; half < kBlock; half += kLanes)
    for (int64_t d = 0; d < u.head_dim; d += kLanes)
      add_columns(sums + d * stride + half, stride, in_order + half, d, u.head_dim, first);
}

}  // namespace
}  // namespace octavo::avx512
