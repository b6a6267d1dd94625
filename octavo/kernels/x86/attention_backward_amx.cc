// SPDX-License-Identifier: Apache-2.0
// Backward attention on BF16 through AMX (arXiv 2205.14135, algorithm 4; see attention_backward-inl.h). Rows
// are the outer loop: dq is finished tile by tile while dk and dv of all keys are kept in FP32. Probabilities
// and gradients of scores are rounded to BF16 for their products; all sums are FP32.
#include "octavo/kernels/x86/attention_amx.h"
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
  Tile* ds_pairs;              ///< right operand for sums over keys, rows in the order of column_of
  float *scores, *dp;          ///< of one block: [32 keys][32 rows]
  float *lse, *row_sum;        ///< per row; lse times log2(e), row_sum = dout · out
  float* dq;                   ///< [head_dim][32 rows] per block, rows in the order of column_of
  float *dk, *dv;              ///< of all keys: [key][head_dim]

  BackwardTile(Scratch& scratch, int64_t blocks, int64_t all_keys)
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
        scores(scratch.floats(kBlock * kBlock)),
        dp(scratch.floats(kBlock * kBlock)),
        lse(scratch.floats(kRows)),
        row_sum(scratch.floats(kRows)),
        dq(scratch.floats(kRows * blocks * kBlock)),
        dk(scratch.floats(padded_to_blocks(all_keys) * blocks * kBlock)),
        dv(scratch.floats(padded_to_blocks(all_keys) * blocks * kBlock)) {}
};

/// Unpacking interleaves two vectors in parts of 128 bits: the row in column c of a block of ds_pairs and dq.
int64_t row_in_column(int64_t c) { return c % 16 / 4 * 8 + c / 16 * 4 + c % 4; }

/// 32 rows and 32 keys: scores and dout · v to p and ds. `seen`: how many of the keys each row sees.
template <bool kMasked>
void softmax_gradient(const BackwardTile& t, int64_t row_block, int64_t key_block, float factor,
                      const uint32_t* seen) {
  const F32 scale = splat(factor);
  F32 lse[2], row_sum[2];
  U32 limit[2];
  for (int h = 0; h < 2; ++h) {
    lse[h] = load(t.lse + row_block * kBlock + h * kLanes);
    row_sum[h] = load(t.row_sum + row_block * kBlock + h * kLanes);
    limit[h].v = _mm512_load_si512(seen + h * kLanes);
  }
  __m512i* pairs = t.ds_pairs[row_block * 2 * kKeyBlocks + key_block].words;
  for (int64_t j = 0; j < kBlock; j += 2) {
    __m512i ds[2];
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i) {
      F32 x[2], dx[2];
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int64_t at = (j + i) * kBlock + h * kLanes;
        const __mmask16 used =
            kMasked ? (splat(static_cast<uint32_t>(j + i)) < limit[h]).v : static_cast<__mmask16>(0xffff);
        x[h].v = power_of_2(_mm512_fmsub_ps(load(t.scores + at).v, scale.v, lse[h].v), used);
        dx[h].v = _mm512_maskz_mul_ps(used, x[h].v, (load(t.dp + at) - row_sum[h]).v);
      }
      const int64_t tile = (key_block * 2 + j / 16) * kRowBlocks + row_block;
      t.p[tile].words[(j + i) % 16] = narrow(x[0], x[1]);
      t.ds[tile].words[(j + i) % 16] = ds[i] = narrow(dx[0], dx[1]);
    }
    pairs[j / 2] = _mm512_unpacklo_epi16(ds[0], ds[1]);
    pairs[j / 2 + kKeyBlocks * 16] = _mm512_unpackhi_epi16(ds[0], ds[1]);
  }
}

/// Everything that rows [r0, r0 + rows) and keys [j0, j0 + keys) give each other.
void tile_pair(const AttentionUnit& u, const BackwardTile& t, int64_t r0, int64_t rows, int64_t j0,
               int64_t keys) {
  const int64_t blocks = blocks_of(u.head_dim), padded = blocks * kBlock;
  int64_t first_block[kKeyBlocks];  // of rows that sees some of the keys
  for (int64_t& first : first_block) first = kRowBlocks;
  for (int64_t b = 0; b < blocks_of(rows); ++b) {
    const int64_t end = smaller(rows, (b + 1) * kBlock);
    const int64_t key_blocks = blocks_of(larger(0, smaller(keys, seen_by(u, r0 + end - 1) - j0)));
    for (int64_t kb = 0; kb < key_blocks; ++kb) {
      first_block[kb] = smaller(first_block[kb], b);
      multiply_tiles(t.k + 2 * kb * blocks, blocks, t.q + 2 * b * blocks, blocks, blocks, t.scores, kBlock,
                     true);
      multiply_tiles(t.v + 2 * kb * blocks, blocks, t.dout + 2 * b * blocks, blocks, blocks, t.dp, kBlock,
                     true);
      alignas(64) uint32_t seen[kBlock] = {};
      for (int64_t i = 0; i < end - b * kBlock; ++i)
        seen[i] = static_cast<uint32_t>(larger(0, seen_by(u, r0 + b * kBlock + i) - j0 - kb * kBlock));
      const bool whole = seen[0] >= kBlock && end == (b + 1) * kBlock;
      (whole ? softmax_gradient<false> : softmax_gradient<true>)(t, b, kb, u.scale * 1.44269504f, seen);
    }
    for (int64_t d = 0; d < blocks && key_blocks > 0; ++d)
      multiply_tiles(t.k_columns + 2 * d * kKeyBlocks, kKeyBlocks, t.ds_pairs + b * 2 * kKeyBlocks,
                     kKeyBlocks, key_blocks, t.dq + (b * blocks + d) * kBlock * kBlock, kBlock, j0 == 0);
  }
  for (int64_t kb = 0; kb < kKeyBlocks; ++kb) {
    const int64_t b = first_block[kb], steps = blocks_of(rows) - b;
    if (steps <= 0) continue;
    const int64_t left = 2 * kb * kRowBlocks + b, sums = (j0 + kb * kBlock) * padded;
    for (int64_t d = 0; d < blocks; ++d) {
      const int64_t right = 2 * d * kRowBlocks + b;
      multiply_tiles(t.p + left, kRowBlocks, t.dout_pairs + right, kRowBlocks, steps,
                     t.dv + sums + d * kBlock, padded, false);
      multiply_tiles(t.ds + left, kRowBlocks, t.q_pairs + right, kRowBlocks, steps, t.dk + sums + d * kBlock,
                     padded, false);
    }
  }
}

float row_dot(const uint16_t* a, const uint16_t* b, int64_t width) {
  F32 total = zero();
  for_vectors(width,
              [&](int64_t d, auto lanes) { total = fma(load(a + d, lanes), load(b + d, lanes), total); });
  return sum(total);
}

void load_rows(const AttentionUnit& u, const BackwardTile& t, int64_t r0, int64_t rows) {
  const Rows q = query_rows(u, u.q, u.q_stride, r0, rows),
             dout = query_rows(u, u.dout, u.dout_stride, r0, rows);
  pack_rows<true>(q, t.q);
  pack_rows<true>(dout, t.dout);
  pack_pairs<false>(q, kRowBlocks, t.q_pairs);
  pack_pairs<false>(dout, kRowBlocks, t.dout_pairs);
  for (int64_t i = 0; i < padded_to_blocks(rows); ++i) {
    const int64_t r = r0 + smaller(i, rows - 1);  // rows that do not exist are masked
    t.lse[i] = u.lse[lse_index(u, r)] * 1.44269504f;
    t.row_sum[i] = row_dot(row_of<const uint16_t>(u, u.out, u.out_stride, r),
                           row_of<const uint16_t>(u, u.dout, u.dout_stride, r), u.head_dim);
  }
}

void store_dq(const AttentionUnit& u, const BackwardTile& t, int64_t r0, int64_t rows) {
  const int64_t padded = padded_to_blocks(u.head_dim);
  for (int64_t b = 0; b < blocks_of(rows); ++b)
    for (int64_t half = 0; half < kBlock; half += kLanes)
      for (int64_t d = 0; d < u.head_dim; d += kLanes)
        store_columns(
            t.dq + (b * padded + d) * kBlock + half, kBlock, splat(u.scale), u.head_dim - d,
            [&](int64_t c) {
              const int64_t r = b * kBlock + row_in_column(half + c);
              return r < rows ? row_of<uint16_t>(u, u.dq, u.dq_stride, r0 + r) + d : nullptr;
            },
            splat(0u));
}

void store_keys(const float* sums, int64_t keys, int64_t width, float factor, void* out, int64_t stride) {
  for (int64_t j = 0; j < keys; ++j)
    for_vectors(width, [&](int64_t d, auto lanes) {
      store_as(static_cast<uint16_t*>(out) + j * stride + d,
               load(sums + j * padded_to_blocks(width) + d, lanes) * splat(factor), lanes);
    });
}

}  // namespace

size_t amx_backward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  BackwardTile(scratch, blocks_of(u.head_dim), u.kv_len);
  return scratch.bytes();
}

void amx_backward(const AttentionUnit& u, void* memory) {
  const int64_t all_rows = u.q_len * u.group, blocks = blocks_of(u.head_dim);
  Scratch scratch(memory);
  const BackwardTile t(scratch, blocks, u.kv_len);
  fill_zero(t.dk, padded_to_blocks(u.kv_len) * blocks * kBlock);
  fill_zero(t.dv, padded_to_blocks(u.kv_len) * blocks * kBlock);
  configure_tiles();
  for (int64_t r0 = 0; r0 < all_rows; r0 += kRows) {
    const int64_t rows = smaller(kRows, all_rows - r0), end = seen_by(u, r0 + rows - 1);
    load_rows(u, t, r0, rows);
    for (int64_t j0 = 0; j0 < end; j0 += kKeys) {
      const int64_t keys = smaller(kKeys, end - j0);
      const Rows k = key_rows(u, u.k, u.k_stride, j0, keys);
      pack_rows<false>(k, t.k);
      pack_rows<false>(key_rows(u, u.v, u.v_stride, j0, keys), t.v);
      pack_pairs<true>(k, kKeyBlocks, t.k_columns);
      tile_pair(u, t, r0, rows, j0, keys);
    }
    store_dq(u, t, r0, rows);
  }
  _tile_release();
  store_keys(t.dk, u.kv_len, u.head_dim, u.scale, u.dk, u.dk_stride);
  store_keys(t.dv, u.kv_len, u.head_dim, 1.0f, u.dv, u.dv_stride);
}

}  // namespace avx512
}  // namespace octavo
