// SPDX-License-Identifier: Apache-2.0
// Forward attention on BF16 through VDPBF16PS: online softmax (arXiv 2205.14135, algorithm 1) with FP32
// statistics and sums; the probabilities are rounded to BF16 for their product with the values, not for their
// sum.
#include "octavo/kernels/x86/attention_avx512bf16.h"
#include "octavo/kernels/x86/attention_dots_avx512bf16.h"

namespace octavo {
namespace avx512 {
namespace {

constexpr int64_t kKeys = 96;
/// Where a tile crosses the diagonal, scores are computed for this many keys and the rows that see them.
constexpr int64_t kDiagonalKeys = 24;

/// Of a tile of rows and a tile of keys.
struct ForwardTile {
  int32_t *q, *k, *v;          ///< columns, rows and pairs (see attention_dots_avx512bf16.h)
  float* scores;               ///< of a panel: [key][row]
  int32_t* p;                  ///< of a panel: [pair of keys][row]
  float* out;                  ///< sums: [panel][head_dim, up to whole vectors][row]
  float *top, *total, *decay;  ///< per row; top is that of the scores times log2(e)
  int32_t* seen;               ///< keys that a row sees

  ForwardTile(Scratch& scratch, int64_t width)
      : q(take_words(scratch, kDotRowTile * words_of(width))),
        k(take_words(scratch, kKeys * round_up(words_of(width)))),
        v(take_words(scratch, kKeys / 2 * round_up(width))),
        scores(scratch.floats(kKeys * kPanel)),
        p(take_words(scratch, kKeys / 2 * kPanel)),
        out(scratch.floats(kDotRowTile * round_up(width))),
        top(scratch.floats(kDotRowTile)),
        total(scratch.floats(kDotRowTile)),
        decay(scratch.floats(kDotRowTile)),
        seen(take_words(scratch, kDotRowTile)) {}
};

/// sums[head_dim][row] *= factor[row]
void scale_columns(float* sums, int64_t width, const float* factor, int64_t rows) {
  for (int64_t row = 0; row < rows; row += kLanes) {
    const F32 x = load(factor + row);
    if (_mm512_cmp_ps_mask(x.v, _mm512_set1_ps(1.0f), _CMP_NEQ_UQ) == 0) continue;
    for (int64_t d = 0; d < width; ++d) store(sums + d * kPanel + row, load(sums + d * kPanel + row) * x);
  }
}

/// What the panel of rows from r on gets from keys [j0, j0 + keys).
void row_panel(const AttentionUnit& u, const ForwardTile& t, int64_t r, int64_t rows, int64_t j0,
               int64_t keys) {
  const int64_t width = u.head_dim, words = words_of(width), lda = round_up(words), ldv = round_up(width);
  const int64_t count = smaller(kPanel, padded_to_blocks(rows - r));
  // Of existing rows, which come first.
  const auto seen_here = [&](int64_t row) {
    return smaller(keys, larger(0, t.seen[smaller(row, rows - 1)] - j0));
  };
  const int64_t fewest = seen_here(r), most = seen_here(r + count - 1);
  if (most == 0) return;
  const int32_t* q = t.q + r / kPanel * words * kPanel;
  const int64_t step = fewest == keys ? keys : kDiagonalKeys;
  for (int64_t j = 0; j < most; j += step) {
    int64_t skip = 0;  // rows that see none of these
    while (seen_here(r + skip + kLanes - 1) <= j) skip += kLanes;
    multiply<false>(smaller(step, most - j), (count - skip) / kLanes, words, t.k + j * lda, lda, q + skip,
                    kPanel, t.scores + j * kPanel + skip, kPanel, false);
  }

  float* out = t.out + r * ldv;
  for (int64_t row = 0; row < count; row += kLanes) {
    const int64_t at = r + row, last = seen_here(at + kLanes - 1);
    const int64_t all = at + kLanes <= rows ? seen_here(at) : 0;
    const __m512i left =
        _mm512_sub_epi32(_mm512_loadu_si512(t.seen + at), _mm512_set1_epi32(static_cast<int>(j0)));
    softmax_columns(t.scores + row, kPanel, vectors(t.p + row), kPanel / kLanes, t.top + at, t.total + at,
                    t.decay + at, u.scale * 1.44269504f, all, last, left, most);
  }
  if (j0 > 0) scale_columns(out, width, t.decay + r, count);
  // By blocks of rows if they see different numbers of keys.
  const int64_t part = fewest == keys ? count : kBlock;
  for (int64_t row = 0; row < count; row += part)
    multiply<true>(width, part / kLanes, words_of(seen_here(r + row + part - 1)), t.v, ldv, t.p + row, kPanel,
                   out + row, kPanel, j0 > 0);
}

}  // namespace

size_t dot_forward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  ForwardTile(scratch, u.head_dim);
  return scratch.bytes();
}

uint32_t dot_forward(const AttentionUnit& u, void* memory) {
  const int64_t rows = smaller(kDotRowTile, u.q_len * u.group - u.first_row), width = u.head_dim;
  Scratch scratch(memory);
  const ForwardTile t(scratch, width);
  fetch_rows<uint16_t>(u, u.q, u.q_stride, u.first_row, u.first_row + rows);
  fetch_keys<uint16_t>(u, u.k, u.k_stride, 0, smaller(kKeys, u.kv_len));
  fetch_keys<uint16_t>(u, u.v, u.v_stride, 0, smaller(kKeys, u.kv_len));
  pack_columns(query_rows<const uint16_t>(u, u.q, u.q_stride, u.first_row, rows), t.q);
  count_seen(u, u.first_row, rows, t.seen);
  for (int64_t r = 0; r < padded_to_blocks(rows); r += kLanes) {
    store(t.top + r, splat(-FLT_MAX));
    store(t.total + r, zero());
  }
  for (int64_t r = 0; r < rows; r += kPanel)  // what is stored by whole vectors but not summed
    fill_zero(t.out + r * round_up(width) + width * kPanel, (round_up(width) - width) * kPanel);
  const int64_t end = seen_by(u, u.first_row + rows - 1);
  for (int64_t j0 = 0; j0 < end; j0 += kKeys) {
    const int64_t keys = smaller(kKeys, end - j0);
    pack_rows(key_rows(u, u.k, u.k_stride, j0, keys), round_up(words_of(width)), t.k);
    pack_pairs(key_rows(u, u.v, u.v_stride, j0, keys), keys, round_up(width), t.v);
    // The next keys are asked for in parts, so that they arrive while the panels are at work.
    const int64_t part = ceil_div(kKeys, ceil_div(rows, kPanel));
    for (int64_t r = 0, next = j0 + keys; r < rows; r += kPanel, next += part) {
      fetch_keys<uint16_t>(u, u.k, u.k_stride, next, smaller(end, next + part));
      fetch_keys<uint16_t>(u, u.v, u.v_stride, next, smaller(end, next + part));
      row_panel(u, t, r, rows, j0, keys);
    }
  }
  U32 amax = splat(0u);
  for (int64_t r = 0; r < rows; r += kLanes)
    amax = finish_rows(u, t.out + r / kPanel * kPanel * round_up(u.head_dim) + r % kPanel, kPanel, t.top,
                       t.total, r, rows, amax);
  return largest(amax);
}

}  // namespace avx512
}  // namespace octavo
