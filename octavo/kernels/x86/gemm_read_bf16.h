// SPDX-License-Identifier: Apache-2.0
// Readers that give words of two BF16 values (see gemm_tile_avx512.h), for FP8 through byte tables
// (AVX512_VBMI) and for BF16.
#pragma once
#include "octavo/kernels/x86/gemm_tile_avx512.h"

namespace octavo {
namespace {

/// Quadwords 0 4 1 5 2 6 3 7: after it, unpack-low and unpack-high, which work inside lanes of 128 bits, give
/// the lower and the upper half of the vector in order.
inline __m512i spread_halves(__m512i x) {
  return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), x);
}

struct Fp8Reader {
  static constexpr int kPerWord = 2, kBytes = 1, kAlong = 2, kAcross = 4;
  __m512i low0, low1, high0, high1;
  bool nan_is_negative_zero;

  explicit Fp8Reader(const GemmDecode& d)
      : low0(_mm512_load_si512(d.low)),
        low1(_mm512_load_si512(d.low + 64)),
        high0(_mm512_load_si512(d.high)),
        high1(_mm512_load_si512(d.high + 64)),
        nan_is_negative_zero(d.nan_is_negative_zero) {}

  /// 64 codes; `x` gets those in the lower half of each lane, `y` the others. The table index is the lower 7
  /// bits, so the sign needs no clearing first.
  inline __attribute__((always_inline)) void widen(__m512i codes, __m512i& x, __m512i& y) const {
    __m512i low = _mm512_permutex2var_epi8(low0, codes, low1);
    __m512i high = _mm512_permutex2var_epi8(high0, codes, high1);
    high = _mm512_ternarylogic_epi32(high, codes, _mm512_set1_epi8(static_cast<char>(0x80)), 0xf8);
    if (nan_is_negative_zero) {
      const __mmask64 nan = _mm512_cmpeq_epi8_mask(codes, _mm512_set1_epi8(static_cast<char>(0x80)));
      low = _mm512_mask_mov_epi8(low, nan, _mm512_set1_epi8(static_cast<char>(0xc0)));
      high = _mm512_mask_mov_epi8(high, nan, _mm512_set1_epi8(0x7f));
    }
    x = _mm512_unpacklo_epi8(low, high);
    y = _mm512_unpackhi_epi8(low, high);
  }

  inline __attribute__((always_inline)) void along(const char* p, int64_t n, __m512i* out) const {
    widen(spread_halves(_mm512_maskz_loadu_epi8(lanes(n), p)), out[0], out[1]);
  }

  inline __attribute__((always_inline)) void across(const char* p, const char* q, int64_t n,
                                                    __m512i* out) const {
    // Doublewords 4j+L of the row to lane L, place j: then the unpacks below leave 16 columns in a row in
    // each vector.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i u =
        p ? _mm512_permutexvar_epi32(order, _mm512_maskz_loadu_epi8(lanes(n), p)) : _mm512_setzero_si512();
    const __m512i v =
        q ? _mm512_permutexvar_epi32(order, _mm512_maskz_loadu_epi8(lanes(n), q)) : _mm512_setzero_si512();
    widen(_mm512_unpacklo_epi8(u, v), out[0], out[1]);
    widen(_mm512_unpackhi_epi8(u, v), out[2], out[3]);
  }

  /// Transposes words of four codes, so half as many as after widening.
  inline __attribute__((always_inline)) void along16(const char* p, int64_t line, int64_t rows, int64_t k,
                                                     __m512i (*v)[16]) const {
    __m512i quads[16];
    const __mmask64 mask = lanes(k);
    if (rows >= 16) {
#pragma GCC unroll 16
      for (int i = 0; i < 16; ++i) quads[i] = _mm512_maskz_loadu_epi8(mask, p + i * line);
    } else {
      for (int i = 0; i < 16; ++i)
        quads[i] = i < rows ? _mm512_maskz_loadu_epi8(mask, p + i * line) : _mm512_setzero_si512();
    }
    transpose16(quads);
    // First pairs of the quads to the lower half of each lane, second pairs to the upper half.
    const __m512i pairs =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      __m512i x, y;
      widen(_mm512_shuffle_epi8(quads[i], pairs), x, y);
      v[i / 8][2 * i % 16] = x;
      v[i / 8][2 * i % 16 + 1] = y;
    }
  }
};

struct Bf16Reader {
  static constexpr int kPerWord = 2, kBytes = 2, kAlong = 1, kAcross = 2;

  inline __attribute__((always_inline)) void along(const char* p, int64_t n, __m512i* out) const {
    out[0] = _mm512_maskz_loadu_epi16(static_cast<__mmask32>(lanes(least(n, 32))), p);
  }
  inline __attribute__((always_inline)) void across(const char* p, const char* q, int64_t n,
                                                    __m512i* out) const {
    const __mmask32 mask = static_cast<__mmask32>(lanes(least(n, 32)));
    const __m512i u = p ? spread_halves(_mm512_maskz_loadu_epi16(mask, p)) : _mm512_setzero_si512();
    const __m512i v = q ? spread_halves(_mm512_maskz_loadu_epi16(mask, q)) : _mm512_setzero_si512();
    out[0] = _mm512_unpacklo_epi16(u, v);
    out[1] = _mm512_unpackhi_epi16(u, v);
  }
  inline __attribute__((always_inline)) void along16(const char* p, int64_t line, int64_t rows, int64_t k,
                                                     __m512i (*v)[16]) const {
    along16_by_words(*this, p, line, rows, k, v);
  }
};

/// Packs A in panels of `panel_rows`; see pack_rows for the layout.
inline void pack_a_bf16(const GemmPack& g, int64_t panel_rows, int64_t words, int64_t row, int64_t chunk) {
  const int64_t panel = panel_rows * words;
  if (g.element == GemmElement::fp8) {
    const Fp8Reader reader(*g.decode);
    if (g.k_contiguous)
      pack_rows(g, reader, panel_rows, words, panel, row, chunk);
    else
      pack_rows_transposed(g, reader, panel_rows, words, panel, row, chunk);
  } else {
    if (g.k_contiguous)
      pack_rows(g, Bf16Reader{}, panel_rows, words, panel, row, chunk);
    else
      pack_rows_transposed(g, Bf16Reader{}, panel_rows, words, panel, row, chunk);
  }
}

inline void pack_b_bf16(const GemmPack& g, int64_t nr, int64_t words) {
  if (g.element == GemmElement::fp8) {
    const Fp8Reader reader(*g.decode);
    if (g.k_contiguous)
      pack_columns_transposed(g, reader, nr, words);
    else
      pack_columns(g, reader, nr, words);
  } else {
    if (g.k_contiguous)
      pack_columns_transposed(g, Bf16Reader{}, nr, words);
    else
      pack_columns(g, Bf16Reader{}, nr, words);
  }
}

}  // namespace
}  // namespace octavo
