// SPDX-License-Identifier: Apache-2.0
// Forward attention on BF16 through AMX: online softmax (arXiv 2205.14135, algorithm 1) with FP32 statistics
// and sums; the probabilities are rounded to BF16 for their product with the values, not for their sum.
#include "octavo/kernels/x86/attention_amx.h"
#include "octavo/kernels/x86/attention_tiles_amx.h"

namespace octavo {
namespace avx512 {
namespace {

constexpr int64_t kKeys = 128, kKeyBlocks = kKeys / kBlock;

/// Of a tile of rows and a tile of keys. Sums of 32 rows lie together as [head_dim][row].
struct ForwardTile {
  Tile *q, *k, *v, *p;
  float *scores, *out;         ///< scores: [key][32 rows]
  float *top, *total, *decay;  ///< per row; top is that of the scores times log2(e)
  int32_t* seen;               ///< keys that a row sees

  ForwardTile(Scratch& scratch, int64_t blocks)
      : q(take_tiles(scratch, kAmxRowTile / 16 * blocks)),
        k(take_tiles(scratch, kKeys / 16 * blocks)),
        v(take_tiles(scratch, kKeyBlocks * 2 * blocks)),
        p(take_tiles(scratch, kKeyBlocks * 2)),
        scores(scratch.floats(kKeys * kBlock)),
        out(scratch.floats(kAmxRowTile * blocks * kBlock)),
        top(scratch.floats(kAmxRowTile)),
        total(scratch.floats(kAmxRowTile)),
        decay(scratch.floats(kAmxRowTile)),
        seen(reinterpret_cast<int32_t*>(scratch.floats(kAmxRowTile))) {}
};

/// What the block of 32 rows at r gets from keys [j0, j0 + keys).
void row_block(const AttentionUnit& u, const ForwardTile& t, int64_t r, int64_t rows, int64_t j0,
               int64_t keys) {
  const int64_t blocks = blocks_of(u.head_dim);
  const auto seen_here = [&](int64_t row) {
    return smaller(keys, larger(0, t.seen[smaller(row, rows - 1)] - j0));
  };
  const int64_t most = seen_here(r + kBlock - 1), padded = padded_to_blocks(most);
  if (most == 0) return;
  const Tile* q = t.q + r / 16 * blocks;
  for (int64_t j = 0; j < padded; j += kBlock)
    multiply_tiles(t.k + j / 16 * blocks, blocks, q, blocks, blocks, t.scores + j * kBlock, kBlock, true);

  for (int64_t row = r; row < r + kBlock; row += kLanes) {
    const __m512i left =
        _mm512_sub_epi32(_mm512_loadu_si512(t.seen + row), _mm512_set1_epi32(static_cast<int>(j0)));
    softmax_columns(t.scores + row % kBlock, kBlock, t.p[row % kBlock / 16 * kKeyBlocks].words, 1,
                    t.top + row, t.total + row, t.decay + row, u.scale * 1.44269504f, seen_here(row),
                    seen_here(row + kLanes - 1), left, padded);
  }

  float* out = t.out + r * blocks * kBlock;
  if (j0 > 0) {
    const F32 low = load(t.decay + r), high = load(t.decay + r + kLanes);
    for (int64_t d = 0; d < blocks * kBlock; ++d) {
      store(out + d * kBlock, load(out + d * kBlock) * low);
      store(out + d * kBlock + kLanes, load(out + d * kBlock + kLanes) * high);
    }
  }
  for (int64_t d = 0; d < blocks; ++d)
    multiply_tiles(t.v + 2 * d * kKeyBlocks, kKeyBlocks, t.p, kKeyBlocks, padded / kBlock,
                   out + d * kBlock * kBlock, kBlock, j0 == 0);
}

}  // namespace

size_t amx_forward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  ForwardTile(scratch, blocks_of(u.head_dim));
  return scratch.bytes();
}

uint32_t amx_forward(const AttentionUnit& u, void* memory) {
  const int64_t rows = smaller(kAmxRowTile, u.q_len * u.group - u.first_row);
  Scratch scratch(memory);
  const ForwardTile t(scratch, blocks_of(u.head_dim));
  configure_tiles();
  pack_rows<true>(query_rows<const uint16_t>(u, u.q, u.q_stride, u.first_row, rows), t.q);
  count_seen(u, u.first_row, rows, t.seen);
  for (int64_t r = 0; r < padded_to_blocks(rows); r += kLanes) {
    store(t.top + r, splat(-FLT_MAX));
    store(t.total + r, zero());
  }
  const int64_t end = seen_by(u, u.first_row + rows - 1);
  for (int64_t j0 = 0; j0 < end; j0 += kKeys) {
    const int64_t keys = smaller(kKeys, end - j0);
    pack_rows<false>(key_rows(u, u.k, u.k_stride, j0, keys), t.k);
    pack_pairs<true>(key_rows(u, u.v, u.v_stride, j0, keys), kKeyBlocks, t.v);
    for (int64_t r = 0; r < rows; r += kBlock) row_block(u, t, r, rows, j0, keys);
  }
  _tile_release();
  U32 amax = splat(0u);
  for (int64_t r = 0; r < rows; r += kLanes)
    amax = finish_rows(u, t.out + r / kBlock * kBlock * padded_to_blocks(u.head_dim) + r % kBlock, kBlock,
                       t.top, t.total, r, rows, amax);
  return largest(amax);
}

}  // namespace avx512
}  // namespace octavo
