// SPDX-License-Identifier: Apache-2.0
// Backward attention of one (sequence, key/value head): probabilities are computed again from the
// log-sum-exp, and ds = p ∘ (dout · v - D) with D = rowsum(dout ∘ out) (arXiv 2205.14135, algorithm 4). Keys
// are the outer loop, so dk and dv are finished tile by tile; dq of all rows is kept in FP32 meanwhile.
// Included after attention-inl.h, inside the namespace of an instruction set.

constexpr int64_t kBackwardRows = 64;
constexpr int64_t kBackwardKeys = 64;
/// Where a tile crosses the diagonal it is taken in parts of this many rows or keys, each with what they see.
constexpr int64_t kDiagonalPart = 12;

struct BackwardTile {
  float *k, *k_columns, *v_columns, *dk, *dv;  ///< of the key tile; columns: [head_dim][key]
  float *q, *dout, *p, *ds;                    ///< of the row tile; p and ds: [row][key]
  float *dq, *row_sum;                         ///< of all rows; row_sum is D

  BackwardTile(Scratch& scratch, int64_t width, int64_t all_rows)
      : k(scratch.floats(kBackwardKeys * round_up(width))),
        k_columns(scratch.floats(width * kBackwardKeys)),
        v_columns(scratch.floats(width * kBackwardKeys)),
        dk(scratch.floats(kBackwardKeys * round_up(width))),
        dv(scratch.floats(kBackwardKeys * round_up(width))),
        q(scratch.floats(kBackwardRows * round_up(width))),
        dout(scratch.floats(kBackwardRows * round_up(width))),
        p(scratch.floats(kBackwardRows * kBackwardKeys)),
        ds(scratch.floats(kBackwardRows * kBackwardKeys)),
        dq(scratch.floats(all_rows * round_up(width))),
        row_sum(scratch.floats(all_rows)) {}
};

size_t backward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  BackwardTile(scratch, u.head_dim, u.q_len * u.group);
  return scratch.bytes();
}

template <class T>
float row_dot(const T* a, const T* b, int64_t width) {
  F32 total = zero();
  for_vectors(width,
              [&](int64_t d, auto lanes) { total = fma(load(a + d, lanes), load(b + d, lanes), total); });
  return sum(total);
}

template <class T>
void load_keys(const AttentionUnit& u, const BackwardTile& t, int64_t j0, int64_t keys) {
  const int64_t width = u.head_dim, padded = round_up(width);
  fill_zero(t.k_columns, width * kBackwardKeys);
  fill_zero(t.v_columns, width * kBackwardKeys);
  for (int64_t j = 0; j < keys; ++j) {
    widen_row(static_cast<const T*>(u.v) + (j0 + j) * u.v_stride, width, 1.0f, t.dv + j * padded);
    widen_row(static_cast<const T*>(u.k) + (j0 + j) * u.k_stride, width, 1.0f, t.k + j * padded);
  }
  transpose(t.dv, padded, keys, width, t.v_columns, kBackwardKeys);
  transpose(t.k, padded, keys, width, t.k_columns, kBackwardKeys);
  fill_zero(t.dv, kBackwardKeys * padded);  // served as the room for v
  fill_zero(t.dk, kBackwardKeys * padded);
}

/// Row i of the tile: p from scores to probabilities, ds from dout · v to the gradient of the scores, times
/// scale; zeros from `seen` on.
void softmax_gradient(const AttentionUnit& u, const BackwardTile& t, int64_t i, int64_t r, int64_t seen) {
  float *p = t.p + i * kBackwardKeys, *ds = t.ds + i * kBackwardKeys;
  const F32 scale = splat(u.scale), lse = splat(u.lse[lse_index(u, r)]), row_sum = splat(t.row_sum[r]);
  int64_t j = 0;
  for (; j < seen; j += kLanes) {
    F32 x = exp(load(p + j) * scale - lse), dx = x * (load(ds + j) - row_sum) * scale;
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
              int64_t keys) {
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
    for (int64_t r = i; r < i + n; ++r) softmax_gradient(u, t, r, r0 + r, seen(r));
    multiply<false>(n, vectors, most, t.ds + at, kBackwardKeys, t.k, padded, t.dq + (r0 + i) * padded, padded,
                    true);
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

template <class T>
void backward_unit(const AttentionUnit& u, void* memory) {
  const int64_t all_rows = u.q_len * u.group, width = u.head_dim, padded = round_up(width);
  Scratch scratch(memory);
  const BackwardTile t(scratch, width, all_rows);
  const auto dout_row = [&](int64_t r) { return row_of<const T>(u, u.dout, u.dout_stride, r); };
  for (int64_t r = 0; r < all_rows; ++r)
    t.row_sum[r] = row_dot(row_of<const T>(u, u.out, u.out_stride, r), dout_row(r), width);
  fill_zero(t.dq, all_rows * padded);
  for (int64_t j0 = 0; j0 < u.kv_len; j0 += kBackwardKeys) {
    const int64_t keys = smaller(kBackwardKeys, u.kv_len - j0);
    load_keys<T>(u, t, j0, keys);
    for (int64_t r0 = first_row_of(u, j0); r0 < all_rows; r0 += kBackwardRows) {
      const int64_t rows = smaller(kBackwardRows, all_rows - r0);
      for (int64_t i = 0; i < rows; ++i) {
        widen_row(row_of<const T>(u, u.q, u.q_stride, r0 + i), width, 1.0f, t.q + i * padded);
        widen_row(dout_row(r0 + i), width, 1.0f, t.dout + i * padded);
      }
      row_tile(u, t, r0, rows, j0, keys);
    }
    for (int64_t j = 0; j < keys; ++j) {
      narrow_row(t.dk + j * padded, width, static_cast<T*>(u.dk) + (j0 + j) * u.dk_stride);
      narrow_row(t.dv + j * padded, width, static_cast<T*>(u.dv) + (j0 + j) * u.dv_stride);
    }
  }
  for (int64_t r = 0; r < all_rows; ++r)
    narrow_row(t.dq + r * padded, width, row_of<T>(u, u.dq, u.dq_stride, r));
}

void backward(const AttentionUnit& u, void* scratch) {
  if (u.bf16)
    backward_unit<uint16_t>(u, scratch);
  else
    backward_unit<float>(u, scratch);
}
