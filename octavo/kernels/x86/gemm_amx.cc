// SPDX-License-Identifier: Apache-2.0
// FP8 and BF16 operands through AMX. A tile is 16 rows of 64 bytes: 16 rows of A by 32 of k, or 16 words of k
// by 16 columns of B; a step is 2 x 2 tiles of sums. TDPBF16PS adds even and odd k of the 32 separately, then
// both to the sum, all rounded to nearest even, with subnormal operands and results taken as zero.
#include "octavo/kernels/x86/gemm_read_bf16.h"
#include "octavo/kernels/x86/gemm_tiles_amx.h"

namespace octavo {
namespace {

constexpr int64_t kUnit = 32, kRows = 32, kColumns = 32;
constexpr int64_t kTile = 256;                   // words
constexpr int64_t kTileSums = kRows * kColumns;  // of one step, row by row

int64_t words_of(int64_t k) { return (k + kUnit - 1) / kUnit * (kUnit / 2); }

// Panels of 16 rows, in them whole tiles one after the other: rows a power of two apart would evict each
// other from L1.
void pack_a(const GemmPack& g) { pack_a_bf16(g, 16, words_of(g.k), 16, kTile); }
void pack_b(const GemmPack& g) { pack_b_bf16(g, kColumns, words_of(g.k)); }

void enter() { configure_tiles(); }
void leave() { _tile_release(); }

/// The epilogue of one tile of sums, some rows at a time.
struct Epilogue {
  GemmStore left{};  ///< the rows not done yet

  void advance(int64_t rows) {
    if (left.m <= 0) return;
    GemmStore s = left;
    s.m = least(rows, left.m);
    store_block(s);
    const float* const sum = left.sum + s.m * kColumns;
    left = store_at(left, s.m, 0, kRows, kColumns);
    left.sum = sum;
  }
  void finish() { advance(kRows); }
  /// The tile at (m, n) of the block.
  void start(const GemmMultiply& g, const float* sum, int64_t m, int64_t n) {
    left = store_at(*g.store, m, n, kRows, kColumns);
    left.sum = sum;
    left.sum_stride = kColumns;
  }
};

/// 16 P rows by 32 columns. `ahead`: what the next panels will want from beyond L2, two lines a step.
/// `previous`: the tile before this one; the vector units do its epilogue while the tile unit multiplies.
template <int P>
inline void multiply_tile(const int32_t* a, const int32_t* b, float* sum, int64_t words, bool first,
                          const char* ahead, Epilogue& previous) {
  constexpr size_t kLine = kColumns * 4;
  if (first) {
    _tile_zero(0);
    _tile_zero(1);
    if (P == 2) _tile_zero(2);
    if (P == 2) _tile_zero(3);
  } else {
    _tile_loadd(0, sum, kLine);
    _tile_loadd(1, sum + 16, kLine);
    if (P == 2) _tile_loadd(2, sum + kTileSums / 2, kLine);
    if (P == 2) _tile_loadd(3, sum + kTileSums / 2 + 16, kLine);
  }
  const int32_t* a1 = a + 16 * words;
  const int64_t rows_a_step = (kRows * 16 + words - 1) / words;
  for (int64_t w = 0; w < words; w += 16) {
    _mm_prefetch(ahead + w * 8, _MM_HINT_T1);
    _mm_prefetch(ahead + w * 8 + 64, _MM_HINT_T1);
    if (!first) {
      // The sums of the next tile come from L2 and follow those of this one.
      const char* next = reinterpret_cast<const char*>(sum + kTileSums) + w * 32 % 4096;
      for (int i = 0; i < 8; ++i) _mm_prefetch(next + 64 * i, _MM_HINT_T0);
    }
    _tile_stream_loadd(6, b + w * kColumns, kColumns * 4);
    _tile_loadd(4, a + w * 16, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_stream_loadd(7, b + w * kColumns + 16, kColumns * 4);
    _tile_dpbf16ps(1, 4, 7);
    if (P == 2) {
      _tile_loadd(5, a1 + w * 16, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    previous.advance(rows_a_step);
  }
  _tile_stored(0, sum, kLine);
  _tile_stored(1, sum + 16, kLine);
  if (P == 2) _tile_stored(2, sum + kTileSums / 2, kLine);
  if (P == 2) _tile_stored(3, sum + kTileSums / 2 + 16, kLine);
}

// Panels of A stay in L1 while the columns of B pass by from L2. Loading B by the streaming instruction,
// which does not displace A, allows blocks of k twice as long as otherwise.
void multiply(const GemmMultiply& g) {
  const int64_t words = g.k / 2;
  const bool once = g.first && g.store;  // no sum outlives its epilogue: two places in L1 take turns
  Epilogue previous;
  int64_t tile = 0;
  for (int64_t m = 0; m < g.m; m += kRows) {
    const int32_t* a = static_cast<const int32_t*>(g.a) + m * words;
    const char* ahead = reinterpret_cast<const char*>(a + kRows * words);
    for (int64_t n = 0; n < g.n; n += kColumns, ++tile) {
      float* sum = g.sum + (once ? tile % 2 : tile) * kTileSums;
      const int32_t* b = static_cast<const int32_t*>(g.b) + n * words;
      if (g.m - m > 16)
        multiply_tile<2>(a, b, sum, words, g.first, ahead, previous);
      else
        multiply_tile<1>(a, b, sum, words, g.first, ahead, previous);
      ahead += words * 8;
      previous.finish();
      if (g.store) previous.start(g, sum, m, n);
    }
  }
  previous.finish();
}

}  // namespace

const GemmKernel kGemmAmx = {.mr = kRows,
                             .nr = kColumns,
                             .k_unit = kUnit,
                             .mc = 256,
                             .nc = 512,
                             .kc = 512,
                             .packed_bytes = 2,
                             .keep_bytes = int64_t{16} << 20,
                             .pack_a = pack_a,
                             .pack_b = pack_b,
                             .multiply = multiply,
                             .store = store_block,
                             .store_in_multiply = true,
                             .enter = enter,
                             .leave = leave,
                             .pack_rows = gemm_pack_rows_avx512bf16,
                             .dot = gemm_dot_avx512bf16};

}  // namespace octavo
