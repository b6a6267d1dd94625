// SPDX-License-Identifier: Apache-2.0
// Operands and products of attention in AMX tiles: 16 rows of 16 words, a word being two BF16 numbers that
// follow each other along the sum. A left operand has 16 of its rows by 32 terms, a right one 32 terms by 16
// of its columns. Scores are computed as [key][row], so that lanes are rows and no sum runs across a vector.
#pragma once
#include "octavo/kernels/x86/attention_bf16_avx512.h"
#include "octavo/kernels/x86/gemm_tiles_amx.h"

namespace octavo::avx512 {
namespace {

static_assert(kBlock == 32, "two tiles");

struct alignas(64) Tile {
  __m512i words[16];
};

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

}  // namespace
}  // namespace octavo::avx512
