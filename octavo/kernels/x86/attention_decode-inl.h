// SPDX-License-Identifier: Apache-2.0
// Forward attention for a few rows (decoding): keys and values are streamed once for all query heads of a
// group and used where they lie, as no tile of them would be used twice. Included after
// attention_forward-inl.h.

constexpr int64_t kFewRows = 8;

bool few_rows(const AttentionUnit& u) {
  return !u.one_order && u.q_len * u.group <= kFewRows && u.head_dim % kLanes == 0;
}

/// p[r * kKeyTile + j] = q[r] · k[j] for R rows and J keys.
template <int R, int J, class T>
void dots_block(const float* q, const T* k, int64_t k_stride, int64_t width, float* p) {
  F32 sums[R][J];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) sums[r][j] = zero();
  for (int64_t d = 0; d < width; d += kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) {
      const F32 x = load(k + j * k_stride + d);
#pragma GCC unroll 4
      for (int r = 0; r < R; ++r) sums[r][j] = fma(load(q + r * width + d), x, sums[r][j]);
    }
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int j = 0; j < J; ++j) p[r * kKeyTile + j] = sum(sums[r][j]);
}
template <int R, class T>
void dots(const float* q, const T* k, int64_t k_stride, int64_t keys, int64_t width, float* p) {
  int64_t j = 0;
  for (; j + 2 <= keys; j += 2) dots_block<R, 2>(q, k + j * k_stride, k_stride, width, p + j);
  if (j < keys) dots_block<R, 1>(q, k + j * k_stride, k_stride, width, p + j);
}

/// Scores of row r, as [key], to probabilities (see softmax_rows); those from `seen` (maybe 0) on become 0.
template <bool kSqrt>
void softmax_row(const ForwardTile& t, int64_t r, int64_t keys, int64_t seen) {
  float* p = t.p + r * kKeyTile;
  const auto inside = [&](int64_t j) {
    return splat(static_cast<uint32_t>(j)) + iota() < splat(static_cast<uint32_t>(seen));
  };
  const F32 old_top = splat(t.top[r]);
  F32 top = old_top, total = zero();
  for (int64_t j = 0; j < keys; j += kLanes) top = max(top, select(inside(j), load(p + j), top));
  top = splat(largest(top));
  for (int64_t j = 0; j < keys; j += kLanes) {
    const F32 e = select(inside(j), exponential<kSqrt>(load(p + j) - top), zero());
    store(p + j, e);
    total = kSqrt ? fma(e, e, total) : total + e;
  }
  t.top[r] = largest(top);
  const float decay = t.decay[r] = largest(exponential<kSqrt>(old_top - top));
  t.total[r] = t.total[r] * (kSqrt ? decay * decay : decay) + sum(total);
}

template <class T>
uint32_t forward_few(const AttentionUnit& u, void* memory) {
  const int64_t width = u.head_dim, rows = u.q_len * u.group;
  Scratch scratch(memory);
  const ForwardTile t(scratch, width);
  for (int64_t r = 0; r < rows; ++r) {
    widen_row(row_of<const T>(u, u.q, u.q_stride, r), width, u.scale, t.q + r * width);
    t.top[r] = -FLT_MAX;
    t.total[r] = 0;
  }
  fill_zero(t.out, rows * width);
  for (int64_t j0 = 0; j0 < u.kv_len; j0 += kKeyTile) {
    const int64_t keys = smaller(kKeyTile, u.kv_len - j0);
    const T* k = static_cast<const T*>(u.k) + j0 * u.k_stride;
    const T* v = static_cast<const T*>(u.v) + j0 * u.v_stride;
    int64_t r = 0;
    for (; r + 4 <= rows; r += 4) dots<4>(t.q + r * width, k, u.k_stride, keys, width, t.p + r * kKeyTile);
    for (; r < rows; ++r) dots<1>(t.q + r * width, k, u.k_stride, keys, width, t.p + r * kKeyTile);
    const auto softmax = u.sqrt_softmax ? softmax_row<true> : softmax_row<false>;
    for (r = 0; r < rows; ++r) softmax(t, r, keys, smaller(keys, larger(0, seen_by(u, r) - j0)));
    scale_rows(t.out, width, t.decay, rows);
    multiply<false>(rows, width / kLanes, keys, t.p, kKeyTile, v, u.v_stride, t.out, width, true);
  }
  U32 amax = splat(0u);
  for (int64_t r = 0; r < rows; ++r)
    amax = finish_row<T>(u, r, t.out + r * width, t.top[r], t.total[r], amax);
  return largest(amax);
}

uint32_t forward(const AttentionUnit& u, void* scratch) {
  if (few_rows(u)) return u.bf16 ? forward_few<uint16_t>(u, scratch) : forward_few<float>(u, scratch);
  return u.bf16 ? forward_tile<uint16_t>(u, scratch) : forward_tile<float>(u, scratch);
}
