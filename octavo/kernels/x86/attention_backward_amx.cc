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
  float *scores, *dp;          ///< of two blocks in turn: [32 keys][32 rows]
  float *lse, *row_sum;        ///< per row; lse times log2(e), row_sum = dout · out
  int32_t* seen;               ///< keys that a row sees
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
        scores(scratch.floats(2 * kBlock * kBlock)),
        dp(scratch.floats(2 * kBlock * kBlock)),
        lse(scratch.floats(kRows)),
        row_sum(scratch.floats(kRows)),
        seen(reinterpret_cast<int32_t*>(scratch.floats(kRows))),
        dq(scratch.floats(kRows * blocks * kBlock)),
        dk(scratch.floats(padded_to_blocks(all_keys) * blocks * kBlock)),
        dv(scratch.floats(padded_to_blocks(all_keys) * blocks * kBlock)) {}
};

/// Unpacking interleaves two vectors in parts of 128 bits: the row in column c of a block of ds_pairs and dq.
int64_t row_in_column(int64_t c) { return c % 16 / 4 * 8 + c / 16 * 4 + c % 4; }

/// 32 rows and 32 keys: what `from` holds of scores and dp to p and ds. They start with
/// first_key.
template <bool kMasked>
void softmax_gradient(const BackwardTile& t, int64_t from, int64_t row_block, int64_t key_block, float factor,
                      int64_t first_key) {
  const F32 scale = splat(factor);
  F32 lse[2], row_sum[2];
  __m512i seen[2];
  for (int h = 0; h < 2; ++h) {
    lse[h] = load(t.lse + row_block * kBlock + h * kLanes);
    row_sum[h] = load(t.row_sum + row_block * kBlock + h * kLanes);
    seen[h] = _mm512_loadu_si512(t.seen + row_block * kBlock + h * kLanes);
  }
  __m512i* pairs = t.ds_pairs[row_block * 2 * kKeyBlocks + key_block].words;
  for (int64_t j = 0; j < kBlock; j += 2) {
    __m512i ds[2];
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i) {
      F32 x[2], dx[2];
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int64_t at = from + (j + i) * kBlock + h * kLanes;
        const __mmask16 used =
            kMasked ? _mm512_cmplt_epi32_mask(_mm512_set1_epi32(static_cast<int>(first_key + j + i)), seen[h])
                    : static_cast<__mmask16>(0xffff);
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
    (whole ? softmax_gradient<false> : softmax_gradient<true>)(t, n % 2 * kBlock * kBlock, b, kb,
                                                               u.scale * 1.44269504f, key);
  }

  for (int64_t b = 0; b < row_blocks; ++b)
    for (int64_t d = 0; d < blocks && key_blocks[b] > 0; ++d)
      multiply_tiles(t.k_columns + 2 * d * kKeyBlocks, kKeyBlocks, t.ds_pairs + b * 2 * kKeyBlocks,
                     kKeyBlocks, key_blocks[b], t.dq + (b * blocks + d) * kBlock * kBlock, kBlock, j0 == 0);
  for (int64_t kb = 0; kb < blocks_of(keys); ++kb) {
    const int64_t b = first_row_block[kb], steps = row_blocks - b;
    if (steps == 0) continue;
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
  const auto q = query_rows<const uint16_t>(u, u.q, u.q_stride, r0, rows);
  const auto dout = query_rows<const uint16_t>(u, u.dout, u.dout_stride, r0, rows);
  const auto out = query_rows<const uint16_t>(u, u.out, u.out_stride, r0, rows);
  pack_rows<true>(q, t.q);
  pack_rows<true>(dout, t.dout);
  pack_pairs<false>(q, kRowBlocks, t.q_pairs);
  pack_pairs<false>(dout, kRowBlocks, t.dout_pairs);
  count_seen(u, r0, rows, t.seen);
  for (int64_t r = 0; r < padded_to_blocks(rows); r += kBlock) {
    const uint16_t *a[kBlock], *b[kBlock];
    dout.find(r, kBlock, a);
    out.find(r, kBlock, b);
    for (int64_t i = 0; i < kBlock; ++i) {
      t.row_sum[r + i] = a[i] ? row_dot(a[i], b[i], u.head_dim) : 0;
      t.lse[r + i] = a[i] ? u.lse[lse_index(u, r0 + r + i)] * 1.44269504f : 0;
    }
  }
}

void store_dq(const AttentionUnit& u, const BackwardTile& t, int64_t r0, int64_t rows) {
  const int64_t padded = padded_to_blocks(u.head_dim);
  for (int64_t b = 0; b < blocks_of(rows); ++b) {
    uint16_t *row[kBlock], *in_order[kBlock];
    query_rows<uint16_t>(u, u.dq, u.dq_stride, r0, rows).find(b * kBlock, kBlock, row);
    for (int64_t c = 0; c < kBlock; ++c) in_order[c] = row[row_in_column(c)];
    for (int64_t half = 0; half < kBlock; half += kLanes)
      for (int64_t d = 0; d < u.head_dim; d += kLanes)
        store_columns(t.dq + (b * padded + d) * kBlock + half, kBlock, splat(u.scale), in_order + half, d,
                      u.head_dim, splat(0u));
  }
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
      const auto k = key_rows(u, u.k, u.k_stride, j0, keys);
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
