// SPDX-License-Identifier: Apache-2.0
// What attention on BF16 has in common whether VDPBF16PS or AMX multiplies: rows, softmax, results. Scores
// are computed as [key][row], so that lanes are rows and no sum runs across a vector. A "word" is two BF16
// numbers that follow each other along a sum.
#pragma once
#include <float.h>
#include <math.h>
#include <string.h>

#include "octavo/kernels/attention_variants.h"
// Only its transpose and its reader of BF16 are used here.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "octavo/kernels/x86/gemm_read_bf16.h"
#pragma GCC diagnostic pop
#include "octavo/kernels/x86/simd_avx512.h"

#define OCTAVO_LAMBDA __attribute__((always_inline))

namespace octavo::avx512 {
namespace {

#include "octavo/kernels/x86/attention-inl.h"

/// BF16 only. A few rows would leave most of a tile unused, and keys are better read once where they lie; of
/// very long heads the tiles of keys would not stay in the cache. Scores are scaled after the search for
/// their maximum, hence the sign.
inline bool takes_bf16(const AttentionUnit& u) {
  return u.bf16 && !u.sqrt_softmax && u.head_dim <= 256 && (u.one_order || u.q_len * u.group > 8) &&
         u.scale > 0;
}

/// Rows are padded to blocks of this many.
constexpr int64_t kBlock = 32;
inline int64_t blocks_of(int64_t n) { return ceil_div(n, kBlock); }
inline int64_t padded_to_blocks(int64_t n) { return blocks_of(n) * kBlock; }

/// Rows of a BF16 matrix that are tokens, or query heads stacked as in AttentionUnit. Past `count` there are
/// none.
template <class T>
struct Rows {
  T* base;
  int64_t stride, group, head_dim, first, count;

  /// Pointers to rows r to r + n, or null. Without a division for each row: it takes as long as copying one.
  void find(int64_t r, int64_t n, T** row) const {
    int64_t token = (first + r) / group, head = (first + r) % group;
    for (int64_t i = 0; i < n; ++i) {
      row[i] = r + i < count ? base + token * stride + head * head_dim : nullptr;
      if (++head == group) {
        head = 0;
        ++token;
      }
    }
  }
};

template <class T, class P>
Rows<T> query_rows(const AttentionUnit& u, P* base, int64_t stride, int64_t first, int64_t count) {
  return {static_cast<T*>(base), stride, u.group, u.head_dim, first, count};
}
inline Rows<const uint16_t> key_rows(const AttentionUnit& u, const void* base, int64_t stride, int64_t first,
                                     int64_t count) {
  return {static_cast<const uint16_t*>(base), stride, 1, u.head_dim, first, count};
}

/// How many keys each row sees, up to the end of the last block; rows that do not exist see none.
inline void count_seen(const AttentionUnit& u, int64_t first, int64_t count, int32_t* seen) {
  int64_t head = first % u.group, keys = seen_by(u, first);
  for (int64_t i = 0; i < padded_to_blocks(count); ++i) {
    seen[i] = i < count ? static_cast<int32_t>(keys) : 0;
    if (++head == u.group) {
      head = 0;
      ++keys;
    }
  }
}

/// 2^t in the lanes of `used` to 3e-6, far below the rounding to BF16 that follows, and exactly 1 for 0. 0 in
/// the others and below -126, where results would be subnormal. t = n + f with n = floor(t), which SCALEF
/// takes itself.
OCTAVO_SIMD __m512 power_of_2(__m512 t, __mmask16 used) {
  const __m512 f = _mm512_reduce_ps(t, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  const F32 p = polynomial(F32{f}, 1.342668553e-2f, 5.224247220e-2f, 0.2412802057f, 0.6930448448f, 1.0f);
  // Not less: NaN stays.
  const __mmask16 normal = _mm512_mask_cmp_ps_mask(used, t, _mm512_set1_ps(-126.0f), _CMP_NLT_UQ);
  return _mm512_maskz_scalef_ps(normal, p.v, t);
}

/// Both as BF16, those of `low` first.
OCTAVO_SIMD __m512i narrow(F32 low, F32 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high.v, low.v));
}

/// The order that makes words of the halves of narrow().
OCTAVO_SIMD __m512i interleaved() {
  return _mm512_setr_epi32(0x100000, 0x110001, 0x120002, 0x130003, 0x140004, 0x150005, 0x160006, 0x170007,
                           0x180008, 0x190009, 0x1a000a, 0x1b000b, 0x1c000c, 0x1d000d, 0x1e000e, 0x1f000f);
}

/// Scores of 16 rows, [key] `stride` apart, to probabilities as words of two keys, `step` vectors apart. Keys
/// from `most` on no row sees, before `least` all do; `seen` is how many each does. Words go on to key
/// `padded` with zeros. top (of the scores times `factor`, which has log2(e) in it), total and decay are
/// those of the rows.
inline void softmax_columns(const float* s, int64_t stride, __m512i* words, int64_t step, float* top_of,
                            float* total_of, float* decay_of, float factor, int64_t least_seen, int64_t most,
                            __m512i seen, int64_t padded) {
  const auto sees = [&](int64_t j) OCTAVO_LAMBDA {
    return _mm512_cmplt_epi32_mask(_mm512_set1_epi32(static_cast<int>(j)), seen);
  };

  const F32 lowest = splat(-FLT_MAX);
  F32 tops[4] = {lowest, lowest, lowest, lowest};  // chains that hide the latency
  int64_t j = 0;
  for (; j + 4 <= least_seen; j += 4)
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) tops[i] = max(load(s + (j + i) * stride), tops[i]);
  for (; j < most; ++j) tops[0].v = _mm512_mask_max_ps(tops[0].v, sees(j), load(s + j * stride).v, tops[0].v);
  const F32 highest = max(max(tops[0], tops[1]), max(tops[2], tops[3]));
  const F32 old_top = load(top_of), top = max(highest * splat(factor), old_top);

  F32 total = zero();
  const auto pair = [&](int64_t at, __mmask16 used, __mmask16 next_used) OCTAVO_LAMBDA {
    const auto exponent = [&](int64_t key) OCTAVO_LAMBDA {
      return _mm512_fmsub_ps(load(s + key * stride).v, _mm512_set1_ps(factor), top.v);
    };
    const F32 a{power_of_2(exponent(at), used)}, b{power_of_2(exponent(at + 1), next_used)};
    total = total + (a + b);
    words[at / 2 * step] = _mm512_permutexvar_epi16(interleaved(), narrow(a, b));
  };
  for (j = 0; j + 2 <= least_seen; j += 2) pair(j, 0xffff, 0xffff);
  for (; j < most; j += 2) pair(j, sees(j), sees(j + 1));
  for (; j < padded; j += 2) words[j / 2 * step] = _mm512_setzero_si512();

  const F32 decay{power_of_2((old_top - top).v, 0xffff)};
  store(top_of, top);
  store(decay_of, decay);
  store(total_of, fma(load(total_of), decay, total));
}

/// What the gradient of a softmax needs of 32 rows. lse is times log2(e), row_sum is dout · out.
struct GradientRows {
  F32 lse[2], row_sum[2];
  __m512i seen[2];

  GradientRows(const float* lse_of, const float* row_sum_of, const int32_t* seen_by_row) {
    for (int h = 0; h < 2; ++h) {
      lse[h] = load(lse_of + h * kLanes);
      row_sum[h] = load(row_sum_of + h * kLanes);
      seen[h] = _mm512_loadu_si512(seen_by_row + h * kLanes);
    }
  }
};

/// Unpacking interleaves two vectors in parts of 128 bits: the row in column c of a block that was made so.
inline int64_t row_in_column(int64_t c) { return c % 16 / 4 * 8 + c / 16 * 4 + c % 4; }

/// 32 rows and `keys` (an even number) from first_key on: scores and dp = dout · v, [key] `stride` apart, to
/// the probabilities and to ds = p (dp - row_sum), as BF16. p, ds: vector of 32 rows, [key] `step` vectors
/// apart. `pairs`: ds in words of two keys, two vectors `pair_step` apart for two keys, rows as in
/// row_in_column, the second one pair_half vectors behind the first. Nothing is seen by rows that do not see
/// the key.
template <bool kMasked>
void softmax_gradient(const GradientRows& rows, float factor, int64_t first_key, int64_t keys,
                      const float* scores, const float* dp, int64_t stride, __m512i* p, __m512i* ds,
                      int64_t step, __m512i* pairs, int64_t pair_step, int64_t pair_half) {
  const F32 scale = splat(factor);
  for (int64_t j = 0; j < keys; j += 2) {
    __m512i both[2];
#pragma GCC unroll 2
    for (int64_t i = 0; i < 2; ++i) {
      F32 x[2], dx[2];
#pragma GCC unroll 2
      for (int h = 0; h < 2; ++h) {
        const int64_t at = (j + i) * stride + h * kLanes;
        const __mmask16 used = kMasked
                                   ? _mm512_cmplt_epi32_mask(
                                         _mm512_set1_epi32(static_cast<int>(first_key + j + i)), rows.seen[h])
                                   : static_cast<__mmask16>(0xffff);
        x[h].v = power_of_2(_mm512_fmsub_ps(load(scores + at).v, scale.v, rows.lse[h].v), used);
        dx[h].v = _mm512_maskz_mul_ps(used, x[h].v, (load(dp + at) - rows.row_sum[h]).v);
      }
      p[(j + i) * step] = narrow(x[0], x[1]);
      ds[(j + i) * step] = both[i] = narrow(dx[0], dx[1]);
    }
    pairs[j / 2 * pair_step] = _mm512_unpacklo_epi16(both[0], both[1]);
    pairs[j / 2 * pair_step + pair_half] = _mm512_unpackhi_epi16(both[0], both[1]);
  }
}

/// 16 columns of 16 numbers, `stride` apart, each times factor[column]: column c goes to row[c] + d as BF16
/// as far as head_dim goes, unless that is null. Returns the larger of amax and the magnitudes stored, lane
/// by lane.
inline U32 store_columns(const float* x, int64_t stride, F32 factor, uint16_t* const* row, int64_t d,
                         int64_t head_dim, U32 amax) {
  __m512i v[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; ++i) v[i] = bits(load(x + i * stride) * factor).v;
  transpose16(v);
  for (int i = 0; i < 16; ++i) {
    if (!row[i]) continue;
    const U32 codes = bf16_codes(from_bits(U32{v[i]}));
    if (head_dim - d >= kLanes)
      store_low_half(row[i] + d, codes);
    else
      store_low_half(row[i] + d, codes, First(head_dim - d));
    amax = max(amax, magnitude(from_bits(codes << 16)));
  }
  return amax;
}

/// The forward pass's end for the rows row .. row + 16 of a tile: their sums, [head_dim] `stride` apart,
/// divided by their totals, and the log-sum-exp. `top` and `total` are those of the tile; top is times
/// log2(e).
inline U32 finish_rows(const AttentionUnit& u, const float* sums, int64_t stride, const float* top,
                       const float* total, int64_t row, int64_t rows, U32 amax) {
  uint16_t* out[kLanes];
  query_rows<uint16_t>(u, u.out, u.out_stride, u.first_row, rows).find(row, kLanes, out);
  const F32 factor = splat(1.0f) / load(total + row);
  for (int64_t d = 0; d < u.head_dim; d += kLanes)
    amax = store_columns(sums + d * stride, stride, factor, out, d, u.head_dim, amax);
  for (int64_t r = row; u.lse && r < smaller(row + kLanes, rows); ++r)
    u.lse[lse_index(u, u.first_row + r)] = top[r] * 0.693147181f + logf(total[r]);
  return amax;
}

}  // namespace
}  // namespace octavo::avx512
