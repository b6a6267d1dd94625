// SPDX-License-Identifier: Apache-2.0
// Backward attention of one (sequence, key/value head): probabilities are computed again from the
// log-sum-exp, and ds = p ∘ (dout · v - D) with D = rowsum(dout ∘ out) (arXiv 2205.14135, algorithm 4).
// Included after attention_multiply-inl.h and attention_backward_loops-inl.h, inside the namespace of an
// instruction set.

constexpr int64_t kBackwardRows = 128;
constexpr int64_t kBackwardKeys = 64;
/// Where a tile crosses the diagonal it is taken in parts of this many rows or keys, each with what they see.
constexpr int64_t kDiagonalPart = 12;

struct BackwardTile {
  float *k, *k_columns, *v_columns, *dk, *dv;  ///< of the key tile; columns: [head_dim][key]
  float *q, *dout, *p, *ds, *dq, *row_sum;     ///< of the row tile; p and ds: [row][key]; row_sum is D
  int64_t stride;                              ///< of dk, dv, dq: whole vectors

  BackwardTile(Scratch& scratch, int64_t width)
      : k(scratch.floats(kBackwardKeys * round_up(width))),
        k_columns(scratch.floats(width * kBackwardKeys)),
        v_columns(scratch.floats(width * kBackwardKeys)),
        dk(scratch.floats(kBackwardKeys * round_up(width))),
        dv(scratch.floats(kBackwardKeys * round_up(width))),
        q(scratch.floats(kBackwardRows * round_up(width))),
        dout(scratch.floats(kBackwardRows * round_up(width))),
        p(scratch.floats(kBackwardRows * kBackwardKeys)),
        ds(scratch.floats(kBackwardRows * kBackwardKeys)),
        dq(scratch.floats(kBackwardRows * round_up(width))),
        row_sum(scratch.floats(kBackwardRows)),
        stride(round_up(width)) {}
};

size_t backward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  BackwardTile(scratch, u.head_dim);
  return scratch.bytes();
}

template <class T>
float row_dot(const T* a, const T* b, int64_t width) {
  F32 total = zero();
  for_vectors(width,
              [&](int64_t d, auto lanes) { total = fma(load(a + d, lanes), load(b + d, lanes), total); });
  return sum(total);
}

/// Row i of the tile: p from scores to probabilities, ds from dout · v to the gradient of the scores, times
/// scale; zeros from `seen` on. With kSqrt p becomes the roots c of the probabilities, whose gradient of the
/// score is c (dout · v - c D) / 2.
template <bool kSqrt>
void softmax_gradient(const AttentionUnit& u, const BackwardTile& t, int64_t i, int64_t r, int64_t seen) {
  float *p = t.p + i * kBackwardKeys, *ds = t.ds + i * kBackwardKeys;
  const F32 scale = splat(u.scale), lse = splat(u.lse[lse_index(u, r)]), row_sum = splat(t.row_sum[i]);
  const F32 slope = splat(kSqrt ? 0.5f * u.scale : u.scale);
  int64_t j = 0;
  for (; j < seen; j += kLanes) {
    F32 x = exponential<kSqrt>(load(p + j) * scale - lse);
    F32 dx = x * (load(ds + j) - (kSqrt ? x * row_sum : row_sum)) * slope;
    if (j + kLanes > seen) {
      const Mask inside = splat(static_cast<uint32_t>(j)) + iota() < splat(static_cast<uint32_t>(seen));
      x = select(inside, x, zero());
      dx = select(inside, dx, zero());
    }
    store(p + j, x);
    store(ds + j, dx);
  }
  for (; j < kBackwardKeys; j += kLanes) {
    store(p + j, zero());
    store(ds + j, zero());
  }
}

/// Everything that rows [r0, r0 + rows) and keys [j0, j0 + keys) give each other.
void row_tile(const AttentionUnit& u, const BackwardTile& t, int64_t r0, int64_t rows, int64_t j0,
              int64_t keys, bool dq_from_zero) {
  const int64_t width = u.head_dim, padded = round_up(width), vectors = padded / kLanes;
  const bool whole = seen_by(u, r0) >= j0 + keys;
  const int64_t row_part = whole ? rows : kDiagonalPart, key_part = whole ? keys : kDiagonalPart;
  const auto seen = [&](int64_t i) { return smaller(keys, seen_by(u, r0 + i) - j0); };
  for (int64_t i = 0; i < rows; i += row_part) {
    const int64_t n = smaller(row_part, rows - i), most = seen(i + n - 1), at = i * kBackwardKeys;
    multiply<false>(n, ceil_div(most, kLanes), width, t.q + i * padded, padded, t.k_columns, kBackwardKeys,
                    t.p + at, kBackwardKeys, false);
    multiply<false>(n, ceil_div(most, kLanes), width, t.dout + i * padded, padded, t.v_columns, kBackwardKeys,
                    t.ds + at, kBackwardKeys, false);
    for (int64_t r = i; r < i + n; ++r)
      if (u.sqrt_softmax)
        softmax_gradient<true>(u, t, r, r0 + r, seen(r));
      else
        softmax_gradient<false>(u, t, r, r0 + r, seen(r));
    multiply<false>(n, vectors, most, t.ds + at, kBackwardKeys, t.k, padded, t.dq + i * padded, padded,
                    !dq_from_zero);
  }
  for (int64_t j = 0; j < keys; j += key_part) {
    const int64_t n = smaller(key_part, keys - j), first = larger(0, first_row_of(u, j0 + j) - r0);
    if (first >= rows) return;
    const int64_t at = first * kBackwardKeys + j;
    multiply<true>(n, vectors, rows - first, t.p + at, kBackwardKeys, t.dout + first * padded, padded,
                   t.dv + j * padded, padded, true);
    multiply<true>(n, vectors, rows - first, t.ds + at, kBackwardKeys, t.q + first * padded, padded,
                   t.dk + j * padded, padded, true);
  }
}

/// What the loops need of tiles of T.
template <class T>
struct BackwardTiles : BackwardTile {
  static constexpr int64_t kRows = kBackwardRows, kKeys = kBackwardKeys;
  static constexpr bool kAddsDq = false;
  using BackwardTile::BackwardTile;

  float factor(const AttentionUnit&) const { return 1.0f; }

  /// dv, whose sums begin after this, is the room in which v is widened.
  void load_keys(const AttentionUnit& u, int64_t j0, int64_t keys) const {
    const int64_t width = u.head_dim;
    fill_zero(k_columns, width * kKeys);
    fill_zero(v_columns, width * kKeys);
    for (int64_t j = 0; j < keys; ++j) {
      widen_row(static_cast<const T*>(u.v) + (j0 + j) * u.v_stride, width, 1.0f, dv + j * stride);
      widen_row(static_cast<const T*>(u.k) + (j0 + j) * u.k_stride, width, 1.0f, k + j * stride);
    }
    transpose(dv, stride, keys, width, v_columns, kKeys);
    transpose(k, stride, keys, width, k_columns, kKeys);
  }

  void load_rows(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    for (int64_t i = 0; i < rows; ++i) {
      const T* dout_row = row_of<const T>(u, u.dout, u.dout_stride, r0 + i);
      widen_row(row_of<const T>(u, u.q, u.q_stride, r0 + i), u.head_dim, 1.0f, q + i * stride);
      widen_row(dout_row, u.head_dim, 1.0f, dout + i * stride);
      row_sum[i] = row_dot(row_of<const T>(u, u.out, u.out_stride, r0 + i), dout_row, u.head_dim);
    }
  }

  void add(const AttentionUnit& u, int64_t r0, int64_t rows, int64_t j0, int64_t keys, bool from_zero) const {
    row_tile(u, *this, r0, rows, j0, keys, from_zero);
  }

  void load_dq(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    for (int64_t i = 0; i < rows; ++i)
      if constexpr (sizeof(T) == 2)
        join_row(dq_halves(u, r0 + i), u.head_dim, dq + i * stride);
      else
        widen_row(row_of<T>(u, u.dq, u.dq_stride, r0 + i), u.head_dim, 1.0f, dq + i * stride);
  }
  void save_dq(const AttentionUnit& u, int64_t r0, int64_t rows, bool) const {
    for (int64_t i = 0; i < rows; ++i)
      if constexpr (sizeof(T) == 2)
        split_row(dq + i * stride, u.head_dim, dq_halves(u, r0 + i));
      else
        store_row(dq + i * stride, u.head_dim, 1.0f, row_of<T>(u, u.dq, u.dq_stride, r0 + i));
  }
  void store_dq(const AttentionUnit& u, int64_t r0, int64_t rows) const {
    for (int64_t i = 0; i < rows; ++i)
      store_row(dq + i * stride, u.head_dim, 1.0f, row_of<T>(u, u.dq, u.dq_stride, r0 + i));
  }
};

void backward(const AttentionUnit& u, void* memory) {
  Scratch scratch(memory);
  if (!u.bf16)
    keys_outside<float>(u, BackwardTiles<float>(scratch, u.head_dim));
  else if (keys_are_outside(u))
    keys_outside<uint16_t>(u, BackwardTiles<uint16_t>(scratch, u.head_dim));
  else
    rows_outside(u, BackwardTiles<uint16_t>(scratch, u.head_dim));
}
