// SPDX-License-Identifier: Apache-2.0
// Backward attention on BF16 through AMX (arXiv 2205.14135, algorithm 4; see attention_backward-inl.h).
// Probabilities and gradients of scores are rounded to BF16 for their products; all sums are FP32.
#include "octavo/kernels/x86/attention_amx.h"
#include "octavo/kernels/x86/attention_backward_bf16_avx512.h"
#include "octavo/kernels/x86/attention_tiles_amx.h"

namespace octavo {
namespace avx512 {
namespace {

constexpr int64_t kRows = 128, kRowBlocks = kRows / kBlock;
constexpr int64_t kKeys = 64, kKeyBlocks = kKeys / kBlock;

struct BackwardTile {
  Tile *q, *dout;              ///< right operands whose columns are rows of q and dout
  Tile *q_pairs, *dout_pairs;  ///< right operands for sums over rows
  Tile *k, *v, *k_columns;     ///< left operands, the last for sums over keys
  Tile *p, *ds;                ///< left operands [key][row]
  Tile* ds_pairs;              ///< right operand for sums over keys, rows in the order of row_in_column
  float *scores, *dp;          ///< of two blocks in turn: [32 keys][32 rows]
  float *lse, *row_sum;        ///< per row; lse times log2(e), row_sum = dout · out
  int32_t* seen;               ///< keys that a row sees
  float* dq;                   ///< [head_dim][32 rows] per block, rows in the order of row_in_column
  float *dk, *dv;              ///< [key][head_dim]

  BackwardTile(Scratch& scratch, int64_t blocks)
      : q(take_tiles(scratch, kRowBlocks * 2 * blocks)),
        dout(take_tiles(scratch, kRowBlocks * 2 * blocks)),
        q_pairs(take_tiles(scratch, kRowBlocks * 2 * blocks)),
        dout_pairs(take_tiles(scratch, kRowBlocks * 2 * blocks)),
        k(take_tiles(scratch, kKeyBlocks * 2 * blocks)),
        v(take_tiles(scratch, kKeyBlocks * 2 * blocks)),
        k_columns(take_tiles(scratch, kKeyBlocks * 2 * blocks)),
        p(take_tiles(scratch, kKeyBlocks * 2 * kRowBlocks)),
        ds(take_tiles(scratch, kKeyBlocks * 2 * kRowBlocks)),
        ds_pairs(take_tiles(scratch, kKeyBlocks * 2 * kRowBlocks)),
        scores(scratch.floats(2 * kBlock * kBlock)),
        dp(scratch.floats(2 * kBlock * kBlock)),
        lse(scratch.floats(kRows)),
        row_sum(scratch.floats(kRows)),
        seen(reinterpret_cast<int32_t*>(scratch.floats(kRows))),
        dq(scratch.floats(kRows * blocks * kBlock)),
        dk(scratch.floats(kKeys * blocks * kBlock)),
        dv(scratch.floats(kKeys * blocks * kBlock)) {}
};

/// Everything that rows [r0, r0 + rows) and keys [j0, j0 + keys) give each other.
void tile_pair(const AttentionUnit& u, const BackwardTile& t, int64_t rows, int64_t j0, int64_t keys,
               bool dq_from_zero) {
  const int64_t blocks = blocks_of(u.head_dim), padded = blocks * kBlock, row_blocks = blocks_of(rows);
  struct Pair {
    int64_t row_block, key_block;
  } pairs[kRowBlocks * kKeyBlocks];  // those with something to see
  int64_t count = 0, key_blocks[kRowBlocks], first_row_block[kKeyBlocks];
  for (int64_t& first : first_row_block) first = row_blocks;
  for (int64_t b = 0; b < row_blocks; ++b) {
    const int64_t last = smaller(rows, (b + 1) * kBlock) - 1;
    key_blocks[b] = blocks_of(larger(0, smaller(keys, t.seen[last] - j0)));
    for (int64_t kb = 0; kb < key_blocks[b]; ++kb) {
      pairs[count++] = {b, kb};
      first_row_block[kb] = smaller(first_row_block[kb], b);
    }
  }

  const auto start = [&](int64_t n) {
    const int64_t right = 2 * pairs[n].row_block * blocks, left = 2 * pairs[n].key_block * blocks;
    const int64_t at = n % 2 * kBlock * kBlock;
    multiply_tiles(t.k + left, blocks, t.q + right, blocks, blocks, t.scores + at, kBlock, true);
    multiply_tiles(t.v + left, blocks, t.dout + right, blocks, blocks, t.dp + at, kBlock, true);
  };
  if (count > 0) start(0);
  for (int64_t n = 0; n < count; ++n) {
    if (n + 1 < count) start(n + 1);  // these products run while vectors are busy with the ones before
    const int64_t b = pairs[n].row_block, kb = pairs[n].key_block, r = b * kBlock;
    const int64_t key = j0 + kb * kBlock;
    const bool whole = rows - r >= kBlock && t.seen[r] >= key + kBlock;
    const GradientRows of(t.lse + r, t.row_sum + r, t.seen + r);
    for (int64_t j = 0; j < kBlock; j += 16) {
      const int64_t at = n % 2 * kBlock * kBlock + j * kBlock, tile = (kb * 2 + j / 16) * kRowBlocks + b;
      (whole ? softmax_gradient<false>
             : softmax_gradient<true>)(of, u.scale * 1.44269504f, key + j, 16, t.scores + at, t.dp + at,
                                       kBlock, t.p[tile].words, t.ds[tile].words, 1,
                                       t.ds_pairs[b * 2 * kKeyBlocks + kb].words + j / 2, 1, kKeyBlocks * 16);
    }
  }

  for (int64_t b = 0; b < row_blocks; ++b)
    for (int64_t d = 0; d < blocks && (key_blocks[b] > 0 || dq_from_zero); ++d)
      multiply_tiles(t.k_columns + 2 * d * kKeyBlocks, kKeyBlocks, t.ds_pairs + b * 2 * kKeyBlocks,
                     kKeyBlocks, key_blocks[b], t.dq + (b * blocks + d) * kBlock * kBlock, kBlock,
                     dq_from_zero);
  for (int64_t kb = 0; kb < blocks_of(keys); ++kb) {
    const int64_t b = first_row_block[kb], steps = row_blocks - b;
    if (steps == 0) continue;
    const int64_t left = 2 * kb * kRowBlocks + b, sums = kb * kBlock * padded;
    for (int64_t d = 0; d < blocks; ++d) {
      const int64_t right = 2 * d * kRowBlocks + b;
      multiply_tiles(t.p + left, kRowBlocks, t.dout_pairs + right, kRowBlocks, steps,
                     t.dv + sums + d * kBlock, padded, false);
      multiply_tiles(t.ds + left, kRowBlocks, t.q_pairs + right, kRowBlocks, steps, t.dk + sums + d * kBlock,
                     padded, false);
    }
  }
}

/// What the loops need.
struct BackwardTiles : BackwardTile {
  static constexpr int64_t kRows = avx512::kRows, kKeys = avx512::kKeys;
  static constexpr bool kAddsDq = true;
  int64_t blocks, stride;

  BackwardTiles(Scratch& scratch, int64_t width)
      : BackwardTile(scratch, blocks_of(width)), blocks(blocks_of(width)), stride(blocks * kBlock) {}

  float factor(const AttentionUnit& u) const { return u.scale; }

  void load_keys(const AttentionUnit& u, int64_t j0, int64_t keys) const {
    const auto from = key_rows(u, u.k, u.k_stride, j0, keys);
    pack_rows<false>(from, k);
    pack_rows<false>(key_rows(u, u.v, u.v_stride, j0, keys), v);
    pack_pairs<true>(from, kKeyBlocks, k_columns);
  }
  void load_rows(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    const auto q_rows = query_rows<const uint16_t>(u, u.q, u.q_stride, r0, rows);
    const auto dout_rows = query_rows<const uint16_t>(u, u.dout, u.dout_stride, r0, rows);
    pack_rows<true>(q_rows, q);
    pack_rows<true>(dout_rows, dout);
    pack_pairs<false>(q_rows, kRowBlocks, q_pairs);
    pack_pairs<false>(dout_rows, kRowBlocks, dout_pairs);
    load_statistics(u, r0, rows, lse, row_sum, seen);
  }
  void add(const AttentionUnit& u, int64_t, int64_t rows, int64_t j0, int64_t keys, bool dq_from_zero) const {
    tile_pair(u, *this, rows, j0, keys, dq_from_zero);
  }

  void load_dq(const AttentionUnit&, int64_t, int64_t) const {}
  void save_dq(const AttentionUnit& u, int64_t r0, int64_t rows, bool first) const {
    for (int64_t r = 0; r < rows; r += kBlock) add_dq_block(u, dq + r * stride, kBlock, r0, r, rows, first);
  }
  void store_dq(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    for (int64_t r = 0; r < rows; r += kBlock) store_dq_block(u, dq + r * stride, kBlock, r0, r, rows);
  }
};

}  // namespace

size_t amx_backward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  BackwardTiles(scratch, u.head_dim);
  return scratch.bytes();
}

void amx_backward(const AttentionUnit& u, void* memory) {
  Scratch scratch(memory);
  const BackwardTiles t(scratch, u.head_dim);
  configure_tiles();
  if (keys_are_outside(u))
    keys_outside<uint16_t>(u, t);
  else
    rows_outside(u, t);
  _tile_release();
}

}  // namespace avx512
}  // namespace octavo
