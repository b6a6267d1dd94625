// SPDX-License-Identifier: Apache-2.0
// Operands and products of attention in AMX tiles: 16 rows of 16 words, a word being two BF16 numbers that
// follow each other along the sum. A left operand has 16 of its rows by 32 terms, a right one 32 terms by 16
// of its columns. Scores are computed as [key][row], so that lanes are rows and no sum runs across a vector.
#pragma once
#include <float.h>
#include <math.h>
#include <string.h>

#include "octavo/kernels/attention_variants.h"
// Only its transpose and its reader of BF16 are used here.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "octavo/kernels/x86/gemm_read_bf16.h"
#pragma GCC diagnostic pop
#include "octavo/kernels/x86/gemm_tiles_amx.h"
#include "octavo/kernels/x86/simd_avx512.h"

#define OCTAVO_LAMBDA __attribute__((always_inline))

namespace octavo::avx512 {
namespace {

#include "octavo/kernels/x86/attention-inl.h"

/// Everything is padded to blocks of two tiles.
constexpr int64_t kBlock = 32;

struct alignas(64) Tile {
  __m512i words[16];
};

inline int64_t blocks_of(int64_t n) { return ceil_div(n, kBlock); }
inline int64_t padded_to_blocks(int64_t n) { return blocks_of(n) * kBlock; }

inline Tile* take_tiles(Scratch& scratch, int64_t count) {
  return reinterpret_cast<Tile*>(scratch.floats(count * static_cast<int64_t>(sizeof(Tile) / sizeof(float))));
}

/// sum[32][32] (= or +=) a · b over `steps` tiles that lie one after the other; the second 16 rows of a are
/// a_next tiles further on, the second 16 columns of b are b_next tiles further on.
inline void multiply_tiles(const Tile* a, int64_t a_next, const Tile* b, int64_t b_next, int64_t steps,
                           float* sum, int64_t stride, bool first) {
  const size_t line = static_cast<size_t>(stride) * sizeof(float);
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  } else {
    _tile_loadd(0, sum, line);
    _tile_loadd(1, sum + 16, line);
    _tile_loadd(2, sum + 16 * stride, line);
    _tile_loadd(3, sum + 16 * stride + 16, line);
  }
  for (int64_t i = 0; i < steps; ++i) {
    _tile_loadd(6, b + i, 64);
    _tile_loadd(4, a + i, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + b_next + i, 64);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + a_next + i, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sum, line);
  _tile_stored(1, sum + 16, line);
  _tile_stored(2, sum + 16 * stride, line);
  _tile_stored(3, sum + 16 * stride + 16, line);
}

/// Rows of a BF16 matrix that are tokens, or query heads stacked as in AttentionUnit. Past `count` there are
/// none.
template <class T>
struct Rows {
  T* base;
  int64_t stride, group, head_dim, first, count;

  /// Pointers to rows r to r + n, or null. Without a division for each row: it takes as long as copying one.
  void find(int64_t r, int64_t n, T** row) const {
    int64_t token = (first + r) / group, head = (first + r) % group;
    for (int64_t i = 0; i < n; ++i) {
      row[i] = r + i < count ? base + token * stride + head * head_dim : nullptr;
      if (++head == group) {
        head = 0;
        ++token;
      }
    }
  }
};

template <class T, class P>
Rows<T> query_rows(const AttentionUnit& u, P* base, int64_t stride, int64_t first, int64_t count) {
  return {static_cast<T*>(base), stride, u.group, u.head_dim, first, count};
}
inline Rows<const uint16_t> key_rows(const AttentionUnit& u, const void* base, int64_t stride, int64_t first,
                                     int64_t count) {
  return {static_cast<const uint16_t*>(base), stride, 1, u.head_dim, first, count};
}

/// How many keys each row sees, up to the end of the last block; rows that do not exist see none.
inline void count_seen(const AttentionUnit& u, int64_t first, int64_t count, int32_t* seen) {
  int64_t head = first % u.group, keys = seen_by(u, first);
  for (int64_t i = 0; i < padded_to_blocks(count); ++i) {
    seen[i] = i < count ? static_cast<int32_t>(keys) : 0;
    if (++head == u.group) {
      head = 0;
      ++keys;
    }
  }
}

/// Tiles [16 rows][32 of head_dim], those of a row side by side; transposed, a right operand whose columns
/// are the rows. Zeros fill up both directions.
template <bool kTransposed>
void pack_rows(const Rows<const uint16_t>& x, Tile* out) {
  const int64_t across = blocks_of(x.head_dim);
  for (int64_t r = 0; r < padded_to_blocks(x.count); r += 16) {
    const uint16_t* row[16];
    x.find(r, 16, row);
    for (int64_t w = 0; w < across; ++w, ++out) {
      __m512i v[16];
      const __mmask32 there = static_cast<__mmask32>(lanes(least(kBlock, x.head_dim - w * kBlock)));
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i)
        v[i] = row[i] ? _mm512_maskz_loadu_epi16(there, row[i] + w * kBlock) : _mm512_setzero_si512();
      if constexpr (kTransposed) transpose16(v);
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) out->words[i] = v[i];
    }
  }
}

/// Tiles [32 rows][16 of head_dim] for sums over rows: a right operand, or transposed a left one. Those below
/// each other lie side by side, the next of head_dim is `next` tiles further on.
template <bool kTransposed>
void pack_pairs(const Rows<const uint16_t>& x, int64_t next, Tile* out) {
  for (int64_t b = 0; b < blocks_of(x.count); ++b) {
    const uint16_t* row[kBlock];
    x.find(b * kBlock, kBlock, row);
    for (int64_t w = 0; w < blocks_of(x.head_dim); ++w) {
      __m512i low[16], high[16], pair[2];
      for (int i = 0; i < 16; ++i) {
        const auto part = [&](const uint16_t* p) {
          return p ? reinterpret_cast<const char*>(p + w * kBlock) : nullptr;
        };
        Bf16Reader().across(part(row[2 * i]), part(row[2 * i + 1]), x.head_dim - w * kBlock, pair);
        low[i] = pair[0];
        high[i] = pair[1];
      }
      if constexpr (kTransposed) {
        transpose16(low);
        transpose16(high);
      }
      for (int i = 0; i < 16; ++i) {
        out[2 * w * next + b].words[i] = low[i];
        out[(2 * w + 1) * next + b].words[i] = high[i];
      }
    }
  }
}

/// 2^t in the lanes of `used` to 3e-6, far below the rounding to BF16 that follows, and exactly 1 for 0. 0 in
/// the others and below -126, where results would be subnormal. t = n + f with n = floor(t), which SCALEF
/// takes itself.
OCTAVO_SIMD __m512 power_of_2(__m512 t, __mmask16 used) {
  const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const F32 p = polynomial(F32{f}, 1.342668553e-2f, 5.224247220e-2f, 0.2412802057f, 0.6930448448f, 1.0f);
  // Not less: NaN stays.
  const __mmask16 normal = _mm512_mask_cmp_ps_mask(used, t, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return _mm512_maskz_scalef_ps(normal, p.v, t);
}

/// Both as BF16, those of `low` first.
OCTAVO_SIMD __m512i narrow(F32 low, F32 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v));
}

/// 16 columns of 16 numbers, `stride` apart, each times factor[column]: column c goes to row[c] + d as BF16
/// as far as head_dim goes, unless that is null. Returns the larger of amax and the magnitudes stored, lane
/// by lane.
inline U32 store_columns(const float* x, int64_t stride, F32 factor, uint16_t* const* row, int64_t d,
                         int64_t head_dim, U32 amax) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = bits(load(x + i * stride) * factor).v;
  transpose16(v);
  for (int i = 0; i < 16; ++i) {
    if (!row[i]) continue;
    const U32 codes = bf16_codes(from_bits(U32{v[i]}));
    if (head_dim - d >= kLanes)
      store_low_half(row[i] + d, codes);
    else
      store_low_half(row[i] + d, codes, First(head_dim - d));
    amax = max(amax, magnitude(from_bits(codes << 16)));
  }
  return amax;
}

}  // namespace
}  // namespace octavo::avx512
