// SPDX-License-Identifier: Apache-2.0
// Operands and products of attention by VDPBF16PS. The left operand is broadcast word by word, the right one
// lies as [word][column]. Sums are FP32; the instruction takes subnormal operands and sums as zero.
#pragma once
#include "octavo/kernels/x86/attention_bf16_avx512.h"

namespace octavo::avx512 {
namespace {

/// Rows, as columns of right operands, are packed by as many as a block of sums has.
constexpr int64_t kPanel = 64;

inline int64_t words_of(int64_t n) { return (n + 1) / 2; }
inline int32_t* take_words(Scratch& scratch, int64_t count) {
  return reinterpret_cast<int32_t*>(scratch.floats(count));
}
/// Where vectors of a row of words start.
inline __m512i* vectors(int32_t* words) { return reinterpret_cast<__m512i*>(words); }

/// The compiler would prepare the addresses of all rows before the loop, and spill them.
inline __attribute__((always_inline)) void next_row(float*& row, int64_t stride) {
  row += stride;
  __asm__("" : "+r"(row));
}

/// c[M][N vectors] (+)= a · b over `words`, in registers. Word i of row m of a lies at a[m * lda + i], or at
/// a[i * lda + m] if transposed.
template <bool kTransposed, int M, int N>
void dot_block(int64_t words, const int32_t* a, int64_t lda, const int32_t* b, int64_t ldb, float* c,
               int64_t ldc, bool accumulate) {
  __m512 sum[M][N];
  float* row_of_c = c;
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n)
      sum[m][n] = accumulate ? _mm512_load_ps(row_of_c + n * kLanes) : _mm512_setzero_ps();
    next_row(row_of_c, ldc);
  }
  for (int64_t i = 0; i < words; ++i) {
    __m512i row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = _mm512_load_si512(b + i * ldb + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const __m512i x = _mm512_set1_epi32(kTransposed ? a[i * lda + m] : a[m * lda + i]);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n)
        sum[m][n] =
            _mm512_dpbf16_ps(sum[m][n], reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(row[n]));
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) _mm512_store_ps(c + n * kLanes, sum[m][n]);
    next_row(c, ldc);
  }
}

/// As dot_block for any m and n, cut into blocks of about equal size. c is aligned to vectors.
template <bool kTransposed>
void multiply(int64_t m, int64_t n, int64_t words, const int32_t* a, int64_t lda, const int32_t* b,
              int64_t ldb, float* c, int64_t ldc, bool accumulate) {
  using Block = void (*)(int64_t, const int32_t*, int64_t, const int32_t*, int64_t, float*, int64_t, bool);
#define OCTAVO_BLOCKS(M)                                                                      \
  {                                                                                           \
    dot_block<kTransposed, M, 1>, dot_block<kTransposed, M, 2>, dot_block<kTransposed, M, 3>, \
        dot_block<kTransposed, M, 4>                                                          \
  }
  static constexpr Block kBlocks[6][4] = {OCTAVO_BLOCKS(1), OCTAVO_BLOCKS(2), OCTAVO_BLOCKS(3),
                                          OCTAVO_BLOCKS(4), OCTAVO_BLOCKS(5), OCTAVO_BLOCKS(6)};
#undef OCTAVO_BLOCKS
  const int64_t m_blocks = ceil_div(m, 6), n_blocks = ceil_div(n, 4);
  for (int64_t nb = 0; nb < n_blocks; ++nb) {
    const int64_t n0 = n * nb / n_blocks, n1 = n * (nb + 1) / n_blocks;
    for (int64_t mb = 0; mb < m_blocks; ++mb) {
      const int64_t m0 = m * mb / m_blocks, m1 = m * (mb + 1) / m_blocks;
      kBlocks[m1 - m0 - 1][n1 - n0 - 1](words, a + m0 * (kTransposed ? 1 : lda), lda, b + n0 * kLanes, ldb,
                                        c + m0 * ldc + n0 * kLanes, ldc, accumulate);
    }
  }
}

inline __mmask32 columns_from(const Rows<const uint16_t>& x, int64_t d) {
  return static_cast<__mmask32>(lanes(least(32, x.head_dim - d)));
}

/// A left operand: the rows as they are, `lda` words apart and filled up with zeros. Rows from count on to an
/// even number are zero.
inline void pack_rows(const Rows<const uint16_t>& x, int64_t lda, int32_t* out) {
  for (int64_t r = 0; r < x.count + x.count % 2; ++r) {
    const uint16_t* row;
    x.find(r, 1, &row);
    for (int64_t w = 0; w < lda; w += kLanes)
      _mm512_store_si512(
          out + r * lda + w,
          row ? _mm512_maskz_loadu_epi16(columns_from(x, 2 * w), row + 2 * w) : _mm512_setzero_si512());
  }
}

/// A right operand whose columns are the rows: [panel of 64 rows][words of head_dim][row]. Zeros fill up to
/// blocks of 32 rows.
inline void pack_columns(const Rows<const uint16_t>& x, int32_t* out) {
  const int64_t words = words_of(x.head_dim);
  for (int64_t r = 0; r < padded_to_blocks(x.count); r += kLanes) {
    const uint16_t* row[kLanes];
    x.find(r, kLanes, row);
    int32_t* panel = out + r / kPanel * words * kPanel + r % kPanel;
    for (int64_t w = 0; w < words; w += kLanes) {
      __m512i v[kLanes];
#pragma GCC unroll 16
      for (int i = 0; i < kLanes; ++i)
        v[i] = row[i] ? _mm512_maskz_loadu_epi16(columns_from(x, 2 * w), row[i] + 2 * w)
                      : _mm512_setzero_si512();
      transpose16(v);
      if (w + kLanes <= words) {
#pragma GCC unroll 16
        for (int i = 0; i < kLanes; ++i) _mm512_store_si512(panel + (w + i) * kPanel, v[i]);
      } else {
        for (int i = 0; i < words - w; ++i) _mm512_store_si512(panel + (w + i) * kPanel, v[i]);
      }
    }
  }
}

/// Words of two rows: [pair of rows][head_dim], `ld` (a multiple of vectors) apart. A right operand for sums
/// over rows, or transposed a left one. Zeros fill up to `rows`.
inline void pack_pairs(const Rows<const uint16_t>& x, int64_t rows, int64_t ld, int32_t* out) {
  for (int64_t r = 0; r < rows; r += 2, out += ld) {
    const uint16_t* row[2];
    x.find(r, 2, row);
    for (int64_t d = 0; d < ld; d += 32) {
      const auto part = [&](const uint16_t* p) { return p ? reinterpret_cast<const char*>(p + d) : nullptr; };
      __m512i pair[2];
      Bf16Reader().across(part(row[0]), part(row[1]), x.head_dim - d, pair);
      _mm512_store_si512(out + d, pair[0]);
      if (d + kLanes < ld) _mm512_store_si512(out + d + kLanes, pair[1]);
    }
  }
}

}  // namespace
}  // namespace octavo::avx512
