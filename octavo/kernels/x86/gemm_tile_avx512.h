// SPDX-License-Identifier: Apache-2.0
// The parts the AVX-512 kernels share. Packing moves "words" of 32 bits: one FP32 value, or two BF16 values
// that follow each other in k. Packed B is [word of k][nr], packed A keeps its rows, so both FP32 FMA and the
// BF16 dot product run in the same loop: broadcast a word of A, multiply it with vectors of 16 words of B.
// Everything here has internal linkage, as each including file is compiled for another instruction set.
#pragma once
#include <immintrin.h>

#include <cstdint>

#include "octavo/kernels/gemm_variant.h"

namespace octavo {
namespace {

inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
/// Ones for the first n lanes, n clamped to [0, 64].
inline uint64_t lanes(int64_t n) { return n >= 64 ? ~uint64_t{0} : n <= 0 ? 0 : (uint64_t{1} << n) - 1; }

/// r[i] word j <-> r[j] word i.
inline __attribute__((always_inline)) void transpose16(__m512i* r) {
  __m512i t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
    t[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {
    r[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
    r[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
    r[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
    r[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
  }
  // Now r[4g+j] holds, in lane L, column 4L+j of rows 4g..4g+3: a 4x4 transpose of lanes remains for each j.
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) {
    const __m512i x = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x44),
                  y = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xee);
    const __m512i z = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x44);
    const __m512i w = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xee);
    t[j] = _mm512_shuffle_i32x4(x, z, 0x88);
    t[4 + j] = _mm512_shuffle_i32x4(x, z, 0xdd);
    t[8 + j] = _mm512_shuffle_i32x4(y, w, 0x88);
    t[12 + j] = _mm512_shuffle_i32x4(y, w, 0xdd);
  }
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) r[i] = t[i];
}

// A reader of one element type (`Reader` below) has:
//   kPerWord           elements of k in one word
//   kBytes             of an element
//   kAlong, kAcross    vectors of 16 words that one call reads
//   along(p, n, out)   words of a k-contiguous row; n elements are there, zeros follow
//   across(p, q, n, out)  words of kAcross * 16 columns; p is row k, q row k + 1 (null past the end)

/// Blocks are too short for the hardware to see a stream, so packing asks for what comes a few kilobytes
/// later. Beyond the operand that does nothing.
inline void fetch(const char* p) { _mm_prefetch(p, _MM_HINT_T0); }

/// Rows that are k-contiguous, kept as rows: word w of row r goes to out[(w / 16) * chunk + r * row + w %
/// 16].
template <class Reader>
void pack_rows(const GemmPack& g, const Reader& reader, int64_t panel_rows, int64_t words, int64_t panel,
               int64_t row, int64_t chunk) {
  const char* data = static_cast<const char*>(g.data);
  constexpr int64_t kStep = 16 * Reader::kPerWord;
  for (int64_t r = 0; r < (g.rows + panel_rows - 1) / panel_rows * panel_rows; ++r) {
    int32_t* out = static_cast<int32_t*>(g.out) + r / panel_rows * panel + r % panel_rows * row;
    const char* p = data + r * g.stride * Reader::kBytes;
    for (int64_t w = 0; w < words; w += 16 * Reader::kAlong) {
      __m512i v[Reader::kAlong];
      const int64_t k = w * Reader::kPerWord;
      if (r < g.rows) {
        fetch(p + (g.stride + k) * Reader::kBytes);
        reader.along(p + k * Reader::kBytes, g.k - k, v);
      } else {
        for (auto& x : v) x = _mm512_setzero_si512();
      }
      for (int i = 0; i < Reader::kAlong && w + 16 * i < words; ++i)
        _mm512_storeu_si512(out + (k / kStep + i) * chunk, v[i]);
    }
  }
}

/// Stored rows that run along m, to the same layout as pack_rows.
template <class Reader>
void pack_rows_transposed(const GemmPack& g, const Reader& reader, int64_t panel_rows, int64_t words,
                          int64_t panel, int64_t row, int64_t chunk) {
  const char* data = static_cast<const char*>(g.data);
  const int64_t padded = (g.rows + panel_rows - 1) / panel_rows * panel_rows;
  const int64_t line = g.stride * Reader::kBytes;
  for (int64_t w = 0; w < words; w += 16) {
    for (int64_t r = 0; r < padded; r += 16 * Reader::kAcross) {
      __m512i v[Reader::kAcross][16];
      for (int i = 0; i < 16; ++i) {
        const int64_t k = (w + i) * Reader::kPerWord;
        __m512i x[Reader::kAcross];
        const char* p = k < g.k ? data + k * line + r * Reader::kBytes : nullptr;
        const char* q = Reader::kPerWord == 2 && k + 1 < g.k ? p + line : nullptr;
        for (int j = 0; p && j < Reader::kPerWord; ++j) fetch(p + (16 * Reader::kPerWord + j) * line);
        reader.across(p, q, g.rows - r, x);
        for (int j = 0; j < Reader::kAcross; ++j) v[j][i] = x[j];
      }
      for (int j = 0; j < Reader::kAcross && r + 16 * j < padded; ++j) {
        transpose16(v[j]);
        for (int i = 0; i < 16; ++i) {
          const int64_t at = r + 16 * j + i;
          if (at >= padded) break;
          int32_t* out = static_cast<int32_t*>(g.out) + at / panel_rows * panel + at % panel_rows * row;
          _mm512_storeu_si512(out + w / 16 * chunk, v[j][i]);
        }
      }
    }
  }
}

/// Stored rows that run along n: word w of column c goes to out[c / nr panels + w * nr + c % nr].
template <class Reader>
void pack_columns(const GemmPack& g, const Reader& reader, int64_t nr, int64_t words) {
  const char* data = static_cast<const char*>(g.data);
  const int64_t padded = (g.rows + nr - 1) / nr * nr;
  const int64_t line = g.stride * Reader::kBytes;
  for (int64_t w = 0; w < words; ++w) {
    const int64_t k = w * Reader::kPerWord;
    const char* p = k < g.k ? data + k * line : nullptr;
    const char* q = Reader::kPerWord == 2 && k + 1 < g.k ? p + line : nullptr;
    for (int64_t c = 0; c < padded; c += 16 * Reader::kAcross) {
      __m512i x[Reader::kAcross];
      for (int j = 0; p && j < Reader::kPerWord; ++j)
        fetch(p + (16 * Reader::kPerWord + j) * line + c * Reader::kBytes);
      reader.across(p ? p + c * Reader::kBytes : nullptr, q ? q + c * Reader::kBytes : nullptr, g.rows - c,
                    x);
      for (int j = 0; j < Reader::kAcross; ++j) {
        const int64_t at = c + 16 * j;
        if (at >= padded) break;
        _mm512_store_si512(static_cast<int32_t*>(g.out) + at / nr * nr * words + w * nr + at % nr, x[j]);
      }
    }
  }
}

/// k-contiguous rows, to the same layout as pack_columns.
template <class Reader>
void pack_columns_transposed(const GemmPack& g, const Reader& reader, int64_t nr, int64_t words) {
  const char* data = static_cast<const char*>(g.data);
  const int64_t padded = (g.rows + nr - 1) / nr * nr;
  for (int64_t c = 0; c < padded; c += 16) {
    int32_t* out = static_cast<int32_t*>(g.out) + c / nr * nr * words + c % nr;
    for (int64_t w = 0; w < words; w += 16 * Reader::kAlong) {
      const int64_t k = w * Reader::kPerWord;
      __m512i v[Reader::kAlong][16];
      for (int i = 0; i < 16; ++i) fetch(data + ((c + i) * g.stride + k) * Reader::kBytes + 512);
      reader.along16(data + (c * g.stride + k) * Reader::kBytes, g.stride * Reader::kBytes, g.rows - c,
                     g.k - k, v);
      for (int j = 0; j < Reader::kAlong && w + 16 * j < words; ++j)
        for (int i = 0; i < 16; ++i) _mm512_store_si512(out + (w + 16 * j + i) * nr, v[j][i]);
    }
  }
}

/// along16 for readers whose words are ready when loaded.
template <class Reader>
inline __attribute__((always_inline)) void along16_by_words(const Reader& reader, const char* p, int64_t line,
                                                            int64_t rows, int64_t k, __m512i (*v)[16]) {
  for (int i = 0; i < 16; ++i) {
    v[0][i] = _mm512_setzero_si512();
    if (i < rows) reader.along(p + i * line, k, &v[0][i]);
  }
  transpose16(v[0]);
}

inline __m512 widen_bf16(__m256i x) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(x), 16));
}

/// Nearest even. By integers, because the conversion instruction flushes subnormals.
inline __m256i round_to_bf16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i y = _mm512_srli_epi32(_mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff))), 16);
  const __mmask16 nan = _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
  const __m512i sign = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(0x8000));
  y = _mm512_mask_or_epi32(y, nan, sign, _mm512_set1_epi32(0x7fc0));
  return _mm512_cvtepi32_epi16(y);
}

/// Up to 16 columns of one row. `mask` is all ones but at the edge; without it the compiler uses plain moves.
template <bool kBf16, bool kWhole>
inline __attribute__((always_inline)) void store_vector(__m512 x, void* c, const float* bias, bool accumulate,
                                                        __mmask16 mask) {
  if (bias) x = _mm512_add_ps(x, kWhole ? _mm512_loadu_ps(bias) : _mm512_maskz_loadu_ps(mask, bias));
  if constexpr (kBf16) {
    if (accumulate)
      x = _mm512_add_ps(widen_bf16(kWhole ? _mm256_loadu_epi16(c) : _mm256_maskz_loadu_epi16(mask, c)), x);
    const __m256i h = round_to_bf16(x);
    if (kWhole)
      _mm256_storeu_epi16(c, h);
    else
      _mm256_mask_storeu_epi16(c, mask, h);
  } else {
    if (accumulate) x = _mm512_add_ps(kWhole ? _mm512_loadu_ps(c) : _mm512_maskz_loadu_ps(mask, c), x);
    if (kWhole)
      _mm512_storeu_ps(c, x);
    else
      _mm512_mask_storeu_ps(c, mask, x);
  }
}

template <bool kBf16>
inline void store_rows(const GemmStore g) {  // by value: its fields then alias nothing that is stored
  const bool per_column = g.scale_b && g.scale_b_per_row;
  const float scale_b = g.scale_b && !per_column ? g.scale_b[0] : 1.0f;
  constexpr int64_t kSize = kBf16 ? 2 : 4;
  for (int64_t r = 0; r < g.m; ++r) {
    const float scale_a = g.alpha * (g.scale_a ? g.scale_a[g.scale_a_per_row ? r : 0] : 1.0f);
    const __m512 factor = _mm512_set1_ps(per_column ? scale_a : scale_a * scale_b);
    const float* sum = g.sum + r * g.sum_stride;
    char* c = static_cast<char*>(g.c) + r * g.c_stride * kSize;
    int64_t n = 0;
    for (; n + 16 <= g.n; n += 16) {
      const __m512 f = per_column ? _mm512_mul_ps(factor, _mm512_loadu_ps(g.scale_b + n)) : factor;
      store_vector<kBf16, true>(_mm512_mul_ps(_mm512_load_ps(sum + n), f), c + n * kSize,
                                g.bias ? g.bias + n : nullptr, g.accumulate, 0xffff);
    }
    if (n < g.n) {
      const __mmask16 mask = static_cast<__mmask16>(lanes(g.n - n));
      const __m512 f =
          per_column ? _mm512_mul_ps(factor, _mm512_maskz_loadu_ps(mask, g.scale_b + n)) : factor;
      store_vector<kBf16, false>(_mm512_mul_ps(_mm512_load_ps(sum + n), f), c + n * kSize,
                                 g.bias ? g.bias + n : nullptr, g.accumulate, mask);
    }
  }
}

void store_block(const GemmStore& g) {
  if (g.c_is_bf16)
    store_rows<true>(g);
  else
    store_rows<false>(g);
}

/// The part of an epilogue at (m, n), of at most rows x columns.
inline GemmStore store_at(const GemmStore& whole, int64_t m, int64_t n, int64_t rows, int64_t columns) {
  GemmStore s = whole;
  s.m = least(rows, whole.m - m);
  s.n = least(columns, whole.n - n);
  s.c = static_cast<char*>(s.c) + (m * s.c_stride + n) * (s.c_is_bf16 ? 2 : 4);
  if (s.scale_a && s.scale_a_per_row) s.scale_a += m;
  if (s.scale_b && s.scale_b_per_row) s.scale_b += n;
  if (s.bias) s.bias += n;
  return s;
}

/// What the tiles to come will read, asked for while this one multiplies: its rows of A go to L1, some lines
/// of the panel of B after this one to L2.
struct TileAhead {
  const int32_t* a;
  const char* b;
  int64_t b_lines;  ///< for each 16 words
};

/// The epilogue of a tile that is whole in n and has one scale: from registers to C.
struct TileStore {
  char* c;
  int64_t c_stride;  ///< bytes
  float factor;
  const float* bias;
  bool c_is_bf16, accumulate;
};

constexpr int64_t kTileRows = 6, kTileColumns = 64;

/// R rows by 64 columns over all words of a panel pair. Sums start from `from` (null: zero) and end in
/// `store` or, without it, in `to`.
template <class Dot, int R>
void multiply_tile(const int32_t* a, const int32_t* b, const float* from, int64_t from_stride, float* to,
                   int64_t to_stride, int64_t words, TileAhead ahead, const TileStore* store) {
  constexpr int V = 4;
  __m512 acc[R][V];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
      acc[r][v] = from ? _mm512_load_ps(from + r * from_stride + 16 * v) : _mm512_setzero_ps();
  if (store)
    for (int r = 0; r < R; ++r)
      for (int64_t i = 0; i < kTileColumns * (store->c_is_bf16 ? 2 : 4); i += 64)
        __builtin_prefetch(store->c + r * store->c_stride + i, 1);
  for (int64_t w0 = 0; w0 < words; w0 += 16) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
      _mm_prefetch(reinterpret_cast<const char*>(ahead.a + r * words + w0), _MM_HINT_T0);
    for (int64_t i = 0; i < ahead.b_lines; ++i, ahead.b += 64) _mm_prefetch(ahead.b, _MM_HINT_T1);
#pragma GCC unroll 4
    for (int64_t w = w0; w < w0 + 16; ++w) {
      __m512i bv[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) bv[v] = _mm512_load_si512(b + 16 * v);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m512i av = _mm512_set1_epi32(a[r * words + w]);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] = Dot::run(acc[r][v], av, bv[v]);
      }
      b += 16 * V;
    }
  }
  if (!store) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) _mm512_store_ps(to + r * to_stride + 16 * v, acc[r][v]);
    return;
  }
  const TileStore s = *store;
  const __m512 factor = _mm512_set1_ps(s.factor);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const __m512 x = _mm512_mul_ps(acc[r][v], factor);
      const float* bias = s.bias ? s.bias + 16 * v : nullptr;
      if (s.c_is_bf16)
        store_vector<true, true>(x, s.c + r * s.c_stride + 32 * v, bias, s.accumulate, 0xffff);
      else
        store_vector<false, true>(x, s.c + r * s.c_stride + 64 * v, bias, s.accumulate, 0xffff);
    }
}

/// All tiles of a block. With the last step over k the sums go to C from the registers, or through L1 at the
/// right edge and with scales per row or column. At k = 768 writing them to memory and reading them again
/// cost 4 % of the time.
template <class Dot, int kPerWord>
void multiply_block(const GemmMultiply& g) {
  using Tile = void (*)(const int32_t*, const int32_t*, const float*, int64_t, float*, int64_t, int64_t,
                        TileAhead, const TileStore*);
  constexpr Tile kTiles[] = {multiply_tile<Dot, 1>, multiply_tile<Dot, 2>, multiply_tile<Dot, 3>,
                             multiply_tile<Dot, 4>, multiply_tile<Dot, 5>, multiply_tile<Dot, 6>};
  const int64_t words = g.k / kPerWord, tiles = (g.m + kTileRows - 1) / kTileRows;
  const int32_t* const a0 = static_cast<const int32_t*>(g.a);
  const GemmStore* const store = g.store;
  const bool one_scale =
      store && !(store->scale_a && store->scale_a_per_row) && !(store->scale_b && store->scale_b_per_row);
  TileStore direct{};
  if (one_scale) {
    const float scale_a = store->alpha * (store->scale_a ? store->scale_a[0] : 1.0f);
    const int64_t size = store->c_is_bf16 ? 2 : 4;
    direct = {static_cast<char*>(store->c),
              store->c_stride * size,
              scale_a * (store->scale_b ? store->scale_b[0] : 1.0f),
              store->bias,
              store->c_is_bf16,
              store->accumulate};
  }
  alignas(64) float done[kTileRows * kTileColumns];
  for (int64_t n = 0; n < g.n; n += kTileColumns) {
    const int32_t* b = static_cast<const int32_t*>(g.b) + n * words;
    TileAhead ahead{nullptr, reinterpret_cast<const char*>(b + kTileColumns * words),
                    least(8, (kTileColumns + tiles - 1) / tiles)};
    const bool from_registers = one_scale && n + kTileColumns <= store->n;
    for (int64_t m = 0; m < g.m; m += kTileRows) {
      const int32_t* a = a0 + m * words;
      ahead.a = m + kTileRows < g.m ? a + kTileRows * words : a0;
      float* sum = g.sum + m * g.sum_stride + n;
      TileStore tile = direct;
      if (from_registers) {
        tile.c += m * direct.c_stride + n * (direct.c_is_bf16 ? 2 : 4);
        if (tile.bias) tile.bias += n;
      }
      kTiles[least(g.m - m, kTileRows) - 1](a, b, g.first ? nullptr : sum, g.sum_stride, store ? done : sum,
                                            store ? kTileColumns : g.sum_stride, words, ahead,
                                            from_registers ? &tile : nullptr);
      ahead.b += words * 4 * ahead.b_lines;
      if (!store || from_registers) continue;
      GemmStore s = store_at(*store, m, n, kTileRows, kTileColumns);
      s.sum = done;
      s.sum_stride = kTileColumns;
      store_block(s);
    }
  }
}

}  // namespace
}  // namespace octavo
