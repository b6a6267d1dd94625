// SPDX-License-Identifier: Apache-2.0
// Forward attention over one tile of rows: online softmax (arXiv 2205.14135, algorithm 1) with FP32
// statistics. Included after attention-inl.h, inside the namespace of an instruction set; needs math.h and
// float.h.

constexpr int64_t kRowTile = 64;
constexpr int64_t kKeyTile = 96;
/// Where a tile crosses the diagonal, keys are taken in parts of this many, each with the rows that see it.
constexpr int64_t kDiagonalKeys = 24;

/// Scores, then probabilities, lie in p as [key][row]: the softmax needs no sums within a vector, and keys
/// are read as they are stored.
struct ForwardTile {
  float *q, *k, *v, *p, *out, *top, *total, *decay;

  ForwardTile(Scratch& scratch, int64_t width)
      : q(scratch.floats(round_up(width) * kRowTile)),
        k(scratch.floats(kKeyTile * round_up(width))),
        v(scratch.floats(kKeyTile * round_up(width))),
        p(scratch.floats(kKeyTile * kRowTile)),
        out(scratch.floats(kRowTile * round_up(width))),
        top(scratch.floats(kRowTile)),
        total(scratch.floats(kRowTile)),
        decay(scratch.floats(kRowTile)) {}
};

size_t forward_scratch(const AttentionUnit& u) {
  Scratch scratch(nullptr);
  ForwardTile(scratch, u.head_dim);
  return scratch.bytes();
}

/// kLanes rows of the tile from `row` on: p[j][..] becomes exp(score - top) for `keys` keys, the statistics
/// follow. `seen`: how many of the keys each row sees. With kSqrt p and the decay are square roots of that,
/// the total is of the exponentials themselves.
template <bool kMasked, bool kSqrt>
void softmax_rows(const ForwardTile& t, int64_t row, int64_t keys, U32 seen) {
  float* p = t.p + row;
  const F32 old_top = load(t.top + row);
  const auto masked = [&](int64_t j, F32 x, F32 other) {
    return kMasked ? select(splat(static_cast<uint32_t>(j)) < seen, x, other) : x;
  };
  F32 top = old_top, odd_top = old_top;  // two chains hide the latency
  int64_t j = 0;
  for (; j + 2 <= keys; j += 2) {
    top = max(top, masked(j, load(p + j * kRowTile), top));
    odd_top = max(odd_top, masked(j + 1, load(p + (j + 1) * kRowTile), odd_top));
  }
  if (j < keys) top = max(top, masked(j, load(p + j * kRowTile), top));
  top = max(top, odd_top);
  F32 total = zero();
  for (j = 0; j < keys; ++j) {
    const F32 e = masked(j, exponential<kSqrt>(load(p + j * kRowTile) - top), zero());
    store(p + j * kRowTile, e);
    total = kSqrt ? fma(e, e, total) : total + e;
  }
  const F32 decay = exponential<kSqrt>(old_top - top);
  store(t.top + row, top);
  store(t.decay + row, decay);
  store(t.total + row, fma(load(t.total + row), kSqrt ? decay * decay : decay, total));
}

template <bool kMasked>
void softmax_rows(const AttentionUnit& u, const ForwardTile& t, int64_t row, int64_t keys, U32 seen) {
  if (u.sqrt_softmax)
    softmax_rows<kMasked, true>(t, row, keys, seen);
  else
    softmax_rows<kMasked, false>(t, row, keys, seen);
}

/// x[r][..] *= factor[r]
void scale_rows(float* x, int64_t padded, const float* factor, int64_t rows) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < padded; d += kLanes)
      store(x + r * padded + d, load(x + r * padded + d) * splat(factor[r]));
}

/// Keys of which every row sees all.
void whole_tile(const AttentionUnit& u, const ForwardTile& t, int64_t rows, int64_t keys) {
  const int64_t vectors = ceil_div(rows, kLanes), width = u.head_dim, padded = round_up(width);
  multiply<false>(keys, vectors, width, t.k, padded, t.q, kRowTile, t.p, kRowTile, false);
  for (int64_t i = 0; i < vectors; ++i) softmax_rows<false>(u, t, i * kLanes, keys, splat(0u));
  scale_rows(t.out, padded, t.decay, rows);
  multiply<true>(rows, padded / kLanes, keys, t.p, kRowTile, t.v, padded, t.out, padded, true);
}

/// Keys from j0 on of which rows see different numbers: what no row of a vector sees is not computed.
void diagonal_tile(const AttentionUnit& u, const ForwardTile& t, int64_t rows, int64_t j0, int64_t keys) {
  const int64_t vectors = ceil_div(rows, kLanes), padded = round_up(u.head_dim);
  for (int64_t j = 0; j < keys; j += kDiagonalKeys) {
    const int64_t skip = larger(0, first_row_of(u, j0 + j) - u.first_row) / kLanes;
    multiply<false>(smaller(kDiagonalKeys, keys - j), vectors - skip, u.head_dim, t.k + j * padded, padded,
                    t.q + skip * kLanes, kRowTile, t.p + j * kRowTile + skip * kLanes, kRowTile, false);
  }
  for (int64_t row = 0; row < rows; row += kLanes) {
    const int64_t count = smaller(kLanes, rows - row);
    uint32_t seen[kLanes] = {};
    for (int64_t i = 0; i < count; ++i)
      seen[i] = static_cast<uint32_t>(smaller(keys, larger(0, seen_by(u, u.first_row + row + i) - j0)));
    const int64_t most = seen[count - 1];
    if (most == 0) continue;
    softmax_rows<true>(u, t, row, most, bits(load(reinterpret_cast<const float*>(seen))));
    scale_rows(t.out + row * padded, padded, t.decay + row, count);
    multiply<true>(count, padded / kLanes, most, t.p + row, kRowTile, t.v, padded, t.out + row * padded,
                   padded, true);
  }
}

/// Divides row r by its sum (or its root) and stores it; returns the larger of `amax` and its magnitudes,
/// lane by lane.
template <class T>
U32 finish_row(const AttentionUnit& u, int64_t r, const float* sum, float top, float total, U32 amax) {
  T* out = row_of<T>(u, u.out, u.out_stride, r);
  const F32 divisor = splat(u.sqrt_softmax ? __builtin_sqrtf(total) : total);
  for_vectors(u.head_dim, [&](int64_t d, auto lanes) {
    store_as(out + d, load(sum + d) / divisor, lanes);
    amax = max(amax, magnitude(load(out + d, lanes)));
  });
  if (u.lse) u.lse[lse_index(u, r)] = top + logf(total);
  return amax;
}

template <class T>
uint32_t forward_tile(const AttentionUnit& u, void* memory) {
  const int64_t width = u.head_dim, padded = round_up(width);
  const int64_t rows = smaller(kRowTile, u.q_len * u.group - u.first_row);
  Scratch scratch(memory);
  const ForwardTile t(scratch, width);
  for (int64_t r = 0; r < rows; ++r)
    widen_row(row_of<const T>(u, u.q, u.q_stride, u.first_row + r), width, u.scale, t.out + r * padded);
  fill_zero(t.q, width * kRowTile);
  transpose(t.out, padded, rows, width, t.q, kRowTile);
  fill_zero(t.out, kRowTile * padded);
  fill_zero(t.total, kRowTile);
  for (int64_t r = 0; r < kRowTile; ++r) t.top[r] = -FLT_MAX;

  const int64_t end = seen_by(u, u.first_row + rows - 1);
  for (int64_t j0 = 0; j0 < end; j0 += kKeyTile) {
    const int64_t keys = smaller(kKeyTile, end - j0);
    for (int64_t j = 0; j < keys; ++j) {
      widen_row(static_cast<const T*>(u.k) + (j0 + j) * u.k_stride, width, 1.0f, t.k + j * padded);
      widen_row(static_cast<const T*>(u.v) + (j0 + j) * u.v_stride, width, 1.0f, t.v + j * padded);
    }
    const int64_t next = j0 + keys, last = smaller(end, next + kKeyTile);
    fetch_keys<T>(u, u.k, u.k_stride, next, last);
    fetch_keys<T>(u, u.v, u.v_stride, next, last);
    if (seen_by(u, u.first_row) >= j0 + keys)
      whole_tile(u, t, rows, keys);
    else
      diagonal_tile(u, t, rows, j0, keys);
  }
  U32 amax = splat(0u);
  for (int64_t r = 0; r < rows; ++r)
    amax = finish_row<T>(u, u.first_row + r, t.out + r * padded, t.top[r], t.total[r], amax);
  return largest(amax);
}
