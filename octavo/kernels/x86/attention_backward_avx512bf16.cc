// SPDX-License-Identifier: Apache-2.0
// Backward attention on BF16 through VDPBF16PS (arXiv 2205.14135, algorithm 4; see attention_backward-inl.h).
// Probabilities and gradients of scores are rounded to BF16 for their products; all sums are FP32.
#include "octavo/kernels/x86/attention_avx512bf16.h"
#include "octavo/kernels/x86/attention_backward_bf16_avx512.h"
#include "octavo/kernels/x86/attention_dots_avx512bf16.h"

namespace octavo {
namespace avx512 {
namespace {

/// Scores of so many keys, an even number, and a panel of rows are at work at a time.
constexpr int64_t kChunk = 24;

struct BackwardTiles {
  static constexpr int64_t kRows = 192, kKeys = 288;
  static constexpr bool kAddsDq = true;
  static constexpr int64_t kRowWords = kRows / 2, kRowVectors = kRows / 32;

  int32_t *q, *dout;              ///< columns (see attention_dots_avx512bf16.h)
  int32_t *q_pairs, *dout_pairs;  ///< pairs of rows
  int32_t *k, *v, *k_pairs;       ///< rows, rows, pairs of keys
  int32_t *p, *ds;                ///< [key][pair of rows]
  int32_t* ds_pairs;              ///< of a panel: [pair of keys][row in the order of row_in_column]
  float *scores, *dp;             ///< of a chunk: [key][row of a panel]
  float *lse, *row_sum;           ///< per row; lse times log2(e), row_sum = dout · out
  int32_t* seen;                  ///< keys that a row sees
  float* dq;                      ///< [panel][head_dim][row in the order of row_in_column]
  float *dk, *dv;                 ///< [key][head_dim]
  int64_t width, stride;

  BackwardTiles(Scratch& scratch, int64_t head_dim)
      : q(take_words(scratch, kRows * words_of(head_dim))),
        dout(take_words(scratch, kRows * words_of(head_dim))),
        q_pairs(take_words(scratch, kRowWords * round_up(head_dim))),
        dout_pairs(take_words(scratch, kRowWords * round_up(head_dim))),
        k(take_words(scratch, kKeys * round_up(words_of(head_dim)))),
        v(take_words(scratch, kKeys * round_up(words_of(head_dim)))),
        k_pairs(take_words(scratch, kKeys / 2 * round_up(head_dim))),
        p(take_words(scratch, kKeys * kRowWords)),
        ds(take_words(scratch, kKeys * kRowWords)),
        ds_pairs(take_words(scratch, kKeys / 2 * kPanel)),
        scores(scratch.floats(kChunk * kPanel)),
        dp(scratch.floats(kChunk * kPanel)),
        lse(scratch.floats(kRows)),
        row_sum(scratch.floats(kRows)),
        seen(take_words(scratch, kRows)),
        dq(scratch.floats(kRows * round_up(head_dim))),
        dk(scratch.floats(kKeys * round_up(head_dim))),
        dv(scratch.floats(kKeys * round_up(head_dim))),
        width(head_dim),
        stride(round_up(head_dim)) {}

  float factor(const AttentionUnit& u) const { return u.scale; }

  void load_keys(const AttentionUnit& u, int64_t j0, int64_t keys) const {
    const auto from = key_rows(u, u.k, u.k_stride, j0, keys);
    pack_rows(from, round_up(words_of(width)), k);
    pack_rows(key_rows(u, u.v, u.v_stride, j0, keys), round_up(words_of(width)), v);
    pack_pairs(from, keys, stride, k_pairs);
  }

  void load_rows(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    const auto q_rows = query_rows<const uint16_t>(u, u.q, u.q_stride, r0, rows);
    const auto dout_rows = query_rows<const uint16_t>(u, u.dout, u.dout_stride, r0, rows);
    pack_columns(q_rows, q);
    pack_columns(dout_rows, dout);
    pack_pairs(q_rows, padded_to_blocks(rows), stride, q_pairs);
    pack_pairs(dout_rows, padded_to_blocks(rows), stride, dout_pairs);
    load_statistics(u, r0, rows, lse, row_sum, seen);
  }

  /// How many of `keys` from j0 on row r of the tile sees.
  int64_t seen_here(int64_t r, int64_t j0, int64_t keys) const {
    return smaller(keys, larger(0, seen[r] - j0));
  }

  /// p, ds and dq of the panel of `count` rows (whole blocks) from r on; `rows` exist.
  void row_panel(const AttentionUnit& u, int64_t r, int64_t count, int64_t rows, int64_t j0, int64_t keys,
                 bool dq_from_zero) const {
    const int64_t words = words_of(width), lda = round_up(words);
    const int64_t panel = r / kPanel * words * kPanel;
    int64_t most[kPanel / kBlock];
    for (int64_t b = 0; b < count; b += kBlock)
      most[b / kBlock] = seen_here(smaller(rows, r + b + kBlock) - 1, j0, keys);
    for (int64_t j = 0; j < most[count / kBlock - 1]; j += kChunk) {
      int64_t skip = 0;  // rows that see none of these
      while (most[skip / kBlock] <= j) skip += kBlock;
      const int64_t n = (smaller(kChunk, keys - j) + 1) / 2 * 2, across = (count - skip) / kLanes;
      multiply<false>(n, across, words, k + j * lda, lda, q + panel + skip, kPanel, scores + skip, kPanel,
                      false);
      multiply<false>(n, across, words, v + j * lda, lda, dout + panel + skip, kPanel, dp + skip, kPanel,
                      false);
      for (int64_t b = skip; b < count; b += kBlock) {
        const GradientRows of(lse + r + b, row_sum + r + b, seen + r + b);
        const bool whole = r + b + kBlock <= rows && seen_here(r + b, j0, keys) >= j + n;
        (whole ? softmax_gradient<false>
               : softmax_gradient<true>)(of, u.scale * 1.44269504f, j0 + j, n, scores + b, dp + b, kPanel,
                                         vectors(p + j * kRowWords + (r + b) / 2),
                                         vectors(ds + j * kRowWords + (r + b) / 2), kRowVectors,
                                         vectors(ds_pairs + j / 2 * kPanel + b), kPanel / kLanes, 1);
      }
    }
    float* sums = dq + r * stride;
    // By blocks if they see different chunks.
    const bool together = ceil_div(most[0], kChunk) == ceil_div(most[count / kBlock - 1], kChunk);
    const int64_t part = together ? count : kBlock;
    for (int64_t b = 0; b < count; b += part) {
      const int64_t sum_over = smaller(keys, ceil_div(most[(b + part) / kBlock - 1], kChunk) * kChunk);
      multiply<true>(width, part / kLanes, words_of(sum_over), k_pairs, stride, ds_pairs + b, kPanel,
                     sums + b, kPanel, !dq_from_zero);
    }
  }

  void load_dq(const AttentionUnit&, int64_t, int64_t) const {}
  void save_dq(const AttentionUnit& u, int64_t r0, int64_t rows, bool first) const {
    for (int64_t r = 0; r < rows; r += kBlock)
      add_dq_block(u, dq + r / kPanel * kPanel * stride + r % kPanel, kPanel, r0, r, rows, first);
  }
  void store_dq(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    for (int64_t r = 0; r < rows; r += kBlock)
      store_dq_block(u, dq + r / kPanel * kPanel * stride + r % kPanel, kPanel, r0, r, rows);
  }

  void add(const AttentionUnit& u, int64_t, int64_t rows, int64_t j0, int64_t keys, bool dq_from_zero) const {
    const int64_t padded = padded_to_blocks(rows);
    for (int64_t r = 0; r < padded; r += kPanel)
      row_panel(u, r, smaller(kPanel, padded - r), rows, j0, keys, dq_from_zero);
    const int64_t step = seen_here(0, j0, keys) == keys ? keys : kChunk;
    for (int64_t j = 0; j < keys; j += step) {
      int64_t skip = 0;  // rows that see none of these
      while (skip < padded && seen_here(smaller(rows, skip + kBlock) - 1, j0, keys) <= j) skip += kBlock;
      if (skip == padded) return;
      const int64_t n = smaller(step, keys - j), at = j * kRowWords + skip / 2, over = (padded - skip) / 2;
      multiply<false>(n, stride / kLanes, over, p + at, kRowWords, dout_pairs + skip / 2 * stride, stride,
                      dv + j * stride, stride, true);
      multiply<false>(n, stride / kLanes, over, ds + at, kRowWords, q_pairs + skip / 2 * stride, stride,
                      dk + j * stride, stride, true);
    }
  }
};

}  // namespace

size_t dot_backward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  BackwardTiles(scratch, u.head_dim);
  return scratch.bytes();
}

void dot_backward(const AttentionUnit& u, void* memory) {
  Scratch scratch(memory);
  const BackwardTiles t(scratch, u.head_dim);
  if (keys_are_outside(u))
    keys_outside<uint16_t>(u, t);
  else
    rows_outside(u, t);
}

}  // namespace avx512
}  // namespace octavo
