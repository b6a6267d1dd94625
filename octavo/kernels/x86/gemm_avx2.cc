// SPDX-License-Identifier: Apache-2.0
// FP32 FMA on AVX2, tiles of 6 x 16. FP8 and BF16 operands are widened to FP32 while packing. Packed A is
// [k][6], packed B [k][16], each element for itself: packing is a few percent of the work, so it stays plain.
#include <immintrin.h>

#include <cstring>

#include "octavo/kernels/gemm_variant.h"

namespace octavo {
namespace {

constexpr int64_t kRows = 6, kColumns = 16;

inline float read(const GemmPack& g, int64_t at) {
  if (g.element == GemmElement::fp32) return static_cast<const float*>(g.data)[at];
  if (g.element == GemmElement::fp8) return g.decode->value[static_cast<const uint8_t*>(g.data)[at]];
  const uint32_t bits = static_cast<uint32_t>(static_cast<const uint16_t*>(g.data)[at]) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return value;
}

/// Element k of row r goes to panel r / kPanel, place [k][r % kPanel].
template <int64_t kPanel>
void pack(const GemmPack& g) {
  const int64_t padded = (g.rows + kPanel - 1) / kPanel * kPanel;
  for (int64_t r = 0; r < padded; r += kPanel) {
    float* out = static_cast<float*>(g.out) + r * g.k;
    const int64_t there = g.rows - r < kPanel ? g.rows - r : kPanel;
    if (g.k_contiguous) {
      for (int64_t i = 0; i < kPanel; ++i)
        for (int64_t k = 0; k < g.k; ++k)
          out[k * kPanel + i] = i < there ? read(g, (r + i) * g.stride + k) : 0.0f;
    } else {
      for (int64_t k = 0; k < g.k; ++k)
        for (int64_t i = 0; i < kPanel; ++i)
          out[k * kPanel + i] = i < there ? read(g, k * g.stride + r + i) : 0.0f;
    }
  }
}

template <int R>
void multiply_tile(const float* a, const float* b, float* sum, int64_t sum_stride, int64_t k, bool first) {
  __m256 acc[R][2];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 2; ++v)
      acc[r][v] = first ? _mm256_setzero_ps() : _mm256_loadu_ps(sum + r * sum_stride + 8 * v);
  for (int64_t i = 0; i < k; ++i) {
    const __m256 b0 = _mm256_load_ps(b), b1 = _mm256_load_ps(b + 8);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const __m256 x = _mm256_broadcast_ss(a + r);
      acc[r][0] = _mm256_fmadd_ps(x, b0, acc[r][0]);
      acc[r][1] = _mm256_fmadd_ps(x, b1, acc[r][1]);
    }
    a += kRows;
    b += kColumns;
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
    for (int v = 0; v < 2; ++v) _mm256_storeu_ps(sum + r * sum_stride + 8 * v, acc[r][v]);
}

void multiply(const GemmMultiply& g) {
  using Tile = void (*)(const float*, const float*, float*, int64_t, int64_t, bool);
  constexpr Tile kTiles[] = {multiply_tile<1>, multiply_tile<2>, multiply_tile<3>,
                             multiply_tile<4>, multiply_tile<5>, multiply_tile<6>};
  for (int64_t n = 0; n < g.n; n += kColumns) {
    const float* b = static_cast<const float*>(g.b) + n * g.k;
    for (int64_t m = 0; m < g.m; m += kRows) {
      const float* a = static_cast<const float*>(g.a) + m * g.k;
      kTiles[(g.m - m < kRows ? g.m - m : kRows) - 1](a, b, g.sum + m * g.sum_stride + n, g.sum_stride, g.k,
                                                      g.first);
    }
  }
}

uint16_t round_to_bf16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  if (x != x) return static_cast<uint16_t>((bits >> 16 & 0x8000) | 0x7fc0);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

void store(const GemmStore& g) {
  float row[kColumns];
  for (int64_t r = 0; r < g.m; ++r) {
    const float scale_a = g.alpha * (g.scale_a ? g.scale_a[g.scale_a_per_row ? r : 0] : 1.0f);
    const float* sum = g.sum + r * g.sum_stride;
    for (int64_t n = 0; n < g.n; n += kColumns) {
      const int64_t there = g.n - n < kColumns ? g.n - n : kColumns;
      for (int64_t i = 0; i < there; ++i) {
        const float scale_b = g.scale_b ? g.scale_b[g.scale_b_per_row ? n + i : 0] : 1.0f;
        row[i] = sum[n + i] * (scale_a * scale_b);
      }
      if (g.bias)
        for (int64_t i = 0; i < there; ++i) row[i] += g.bias[n + i];
      if (g.c_is_bf16) {
        uint16_t* c = static_cast<uint16_t*>(g.c) + r * g.c_stride + n;
        for (int64_t i = 0; i < there; ++i) {
          const uint32_t bits = g.accumulate ? static_cast<uint32_t>(c[i]) << 16 : 0;
          float old;
          std::memcpy(&old, &bits, 4);
          c[i] = round_to_bf16(g.accumulate ? old + row[i] : row[i]);
        }
      } else {
        float* c = static_cast<float*>(g.c) + r * g.c_stride + n;
        for (int64_t i = 0; i < there; ++i) c[i] = g.accumulate ? c[i] + row[i] : row[i];
      }
    }
  }
}

}  // namespace

const GemmKernel kGemmAvx2 = {.mr = kRows,
                              .nr = kColumns,
                              .k_unit = 1,
                              .mc = 192,
                              .nc = 512,
                              .kc = 256,
                              .packed_bytes = 4,
                              .keep_bytes = int64_t{16} << 20,
                              .pack_a = pack<kRows>,
                              .pack_b = pack<kColumns>,
                              .multiply = multiply,
                              .store = store,
                              .store_in_multiply = false,
                              .enter = nullptr,
                              .leave = nullptr};

}  // namespace octavo
