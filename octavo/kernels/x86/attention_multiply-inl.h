// SPDX-License-Identifier: Apache-2.0
// Products of tiles by FP32 FMA. Included after attention-inl.h, inside the namespace of an instruction set.

/// Vectors of a row of sums that multiply_block keeps in registers, times kBlockRows rows: 24 of the 32
/// registers of AVX-512, 12 of the 16 of AVX2.
constexpr int kBlockVectors = kLanes == 16 ? 4 : 2;
constexpr int kBlockRows = 6;

/// The transpose of 8 x 8 numbers: pairs of rows, then of pairs, then of halves change places.
void transpose_block(const float* x, int64_t ldx, float* y, int64_t ldy) {
  __m256 a[8], b[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(x + i * ldx);
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xee);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_ps(y + i * ldy, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_storeu_ps(y + (i + 4) * ldy, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

/// y[d][r] = x[r][d]
void transpose(const float* x, int64_t ldx, int64_t rows, int64_t width, float* y, int64_t ldy) {
  const int64_t whole_rows = rows / 8 * 8, whole_width = width / 8 * 8;
  for (int64_t r = 0; r < whole_rows; r += 8)
    for (int64_t d = 0; d < whole_width; d += 8) transpose_block(x + r * ldx + d, ldx, y + d * ldy + r, ldy);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = r < whole_rows ? whole_width : 0; d < width; ++d) y[d * ldy + r] = x[r * ldx + d];
}

/// c[M][N vectors] (+)= a · b over k, in registers. a[m][k] lies at a[m * lda + k], or at a[k * lda + m] if
/// transposed.
template <bool kTransposed, int M, int N, class T>
void multiply_block(int64_t k, const float* a, int64_t lda, const T* b, int64_t ldb, float* c, int64_t ldc,
                    bool accumulate) {
  F32 sum[M][N];
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sum[m][n] = accumulate ? load(c + m * ldc + n * kLanes) : zero();
  for (int64_t i = 0; i < k; ++i) {
    F32 row[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) row[n] = load(b + i * ldb + n * kLanes);
#pragma GCC unroll 8
    for (int m = 0; m < M; ++m) {
      const F32 x = splat(kTransposed ? a[i * lda + m] : a[m * lda + i]);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sum[m][n] = fma(x, row[n], sum[m][n]);
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < M; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) store(c + m * ldc + n * kLanes, sum[m][n]);
}

template <class T>
using Block = void (*)(int64_t, const float*, int64_t, const T*, int64_t, float*, int64_t, bool);

template <bool kTransposed, int M, class T>
Block<T> block_of_width(int64_t n) {
  if constexpr (kBlockVectors == 4) {
    if (n == 4) return multiply_block<kTransposed, M, 4, T>;
    if (n == 3) return multiply_block<kTransposed, M, 3, T>;
  }
  return n == 2 ? multiply_block<kTransposed, M, 2, T> : multiply_block<kTransposed, M, 1, T>;
}
template <bool kTransposed, class T>
Block<T> block_of_size(int64_t m, int64_t n) {
  switch (m) {
    case 1:
      return block_of_width<kTransposed, 1, T>(n);
    case 2:
      return block_of_width<kTransposed, 2, T>(n);
    case 3:
      return block_of_width<kTransposed, 3, T>(n);
    case 4:
      return block_of_width<kTransposed, 4, T>(n);
    case 5:
      return block_of_width<kTransposed, 5, T>(n);
    default:
      return block_of_width<kTransposed, kBlockRows, T>(n);
  }
}

/// As multiply_block for any m and n, cut into blocks of about equal size.
template <bool kTransposed, class T>
void multiply(int64_t m, int64_t n, int64_t k, const float* a, int64_t lda, const T* b, int64_t ldb, float* c,
              int64_t ldc, bool accumulate) {
  const int64_t m_blocks = ceil_div(m, kBlockRows), n_blocks = ceil_div(n, kBlockVectors);
  for (int64_t nb = 0; nb < n_blocks; ++nb) {
    const int64_t n0 = n * nb / n_blocks, n1 = n * (nb + 1) / n_blocks;
    for (int64_t mb = 0; mb < m_blocks; ++mb) {
      const int64_t m0 = m * mb / m_blocks, m1 = m * (mb + 1) / m_blocks;
      const Block<T> block = block_of_size<kTransposed, T>(m1 - m0, n1 - n0);
      block(k, a + m0 * (kTransposed ? 1 : lda), lda, b + n0 * kLanes, ldb, c + m0 * ldc + n0 * kLanes, ldc,
            accumulate);
    }
  }
}
