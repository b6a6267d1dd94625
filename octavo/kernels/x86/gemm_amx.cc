// SPDX-License-Identifier: Apache-2.0
// FP8 and BF16 operands through AMX. A tile is 16 rows of 64 bytes: 16 rows of A by 32 of k, or 16 words of k
// by 16 columns of B; a step is 2 x 2 tiles of sums. TDPBF16PS adds even and odd k of the 32 separately, then
// both to the sum, all rounded to nearest even, with subnormal operands and results taken as zero.
#include "octavo/kernels/x86/gemm_read_bf16.h"
#include "octavo/kernels/x86/gemm_tiles_amx.h"

namespace octavo {
namespace {

constexpr int64_t kUnit = 32, kRows = 32, kColumns = 32;
constexpr int64_t kTile = 256;  // words

int64_t words_of(int64_t k) { return (k + kUnit - 1) / kUnit * (kUnit / 2); }

// Panels of 16 rows, in them whole tiles one after the other: rows a power of two apart would evict each
// other from L1.
void pack_a(const GemmPack& g) { pack_a_bf16(g, 16, words_of(g.k), 16, kTile); }
void pack_b(const GemmPack& g) { pack_b_bf16(g, kColumns, words_of(g.k)); }

void enter() { configure_tiles(); }
void leave() { _tile_release(); }

/// Two panels of A by 32 columns.
inline void tile_2x2(const int32_t* a, const int32_t* b, float* sum, int64_t stride, int64_t words,
                     bool first) {
  const size_t line = static_cast<size_t>(stride) * 4;
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
  const int32_t* a1 = a + 16 * words;
  for (int64_t w = 0; w < words; w += 16) {
    // The sums of the next tile come from L2; asked for a few rows a step, they are there in time.
    const float* next = sum + 32 + w / 16 * 4 % 32 * stride;
    for (int i = 0; i < 4; ++i) {
      _mm_prefetch(reinterpret_cast<const char*>(next + i * stride), _MM_HINT_T0);
      _mm_prefetch(reinterpret_cast<const char*>(next + i * stride + 16), _MM_HINT_T0);
    }
    _tile_loadd(6, b + w * kColumns, kColumns * 4);
    _tile_loadd(4, a + w * 16, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + w * kColumns + 16, kColumns * 4);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a1 + w * 16, 64);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, sum, line);
  _tile_stored(1, sum + 16, line);
  _tile_stored(2, sum + 16 * stride, line);
  _tile_stored(3, sum + 16 * stride + 16, line);
}

/// One panel of A, when 16 rows or fewer remain.
inline void tile_1x2(const int32_t* a, const int32_t* b, float* sum, int64_t stride, int64_t words,
                     bool first) {
  const size_t line = static_cast<size_t>(stride) * 4;
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
  } else {
    _tile_loadd(0, sum, line);
    _tile_loadd(1, sum + 16, line);
  }
  for (int64_t w = 0; w < words; w += 16) {
    _tile_loadd(4, a + w * 16, 64);
    _tile_loadd(6, b + w * kColumns, kColumns * 4);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + w * kColumns + 16, kColumns * 4);
    _tile_dpbf16ps(1, 4, 7);
  }
  _tile_stored(0, sum, line);
  _tile_stored(1, sum + 16, line);
}

void multiply(const GemmMultiply& g) {
  const int64_t words = g.k / 2;
  for (int64_t m = 0; m < g.m; m += kRows) {
    const int32_t* a = static_cast<const int32_t*>(g.a) + m * words;
    for (int64_t n = 0; n < g.n; n += kColumns) {
      const int32_t* b = static_cast<const int32_t*>(g.b) + n * words;
      float* sum = g.sum + m * g.sum_stride + n;
      if (g.m - m > 16)
        tile_2x2(a, b, sum, g.sum_stride, words, g.first);
      else
        tile_1x2(a, b, sum, g.sum_stride, words, g.first);
    }
  }
}

}  // namespace

const GemmKernel kGemmAmx = {.mr = kRows,
                             .nr = kColumns,
                             .k_unit = kUnit,
                             .mc = 256,
                             .nc = 512,
                             .kc = 256,
                             .packed_bytes = 2,
                             .keep_b_bytes = int64_t{16} << 20,
                             .pack_a = pack_a,
                             .pack_b = pack_b,
                             .multiply = multiply,
                             .store = store_block,
                             .enter = enter,
                             .leave = leave};

}  // namespace octavo
