// SPDX-License-Identifier: Apache-2.0
// Which tiles of rows and keys meet in the backward pass, and where FP32 sums are while they are not
// finished: in the results, so that scratch does not grow with the length. Included after attention-inl.h,
// inside the namespace of an instruction set.
//
// Key j meets rows of queries >= j only. With keys as the outer loop, dk and dv are finished tile by tile
// while sums of dq stay open for queries >= j; FP32 results hold them as they are. A BF16 result has room for
// one half of each sum; the other half of dq of head 0 and 1 of the group goes where dk and dv of that token
// are to be, which are not written before. With more heads in a group that room is too small, but then dq has
// enough of it: rows are the outer loop, from the last to the first, and the halves of dk and dv that do not
// fit into themselves wait in dq of head 0 and 1. Either way there are five products and each sum is FP32
// throughout.

/// FP32 sums as upper and lower 16 bits.
struct Halves {
  uint16_t *high, *low;
};
template <class N>
F32 load_sum(const Halves& h, int64_t d, N lanes) {
  return from_bits(bits(load(h.high + d, lanes)) | (bits(load(h.low + d, lanes)) >> 16));
}
template <class N>
void store_sum(const Halves& h, int64_t d, F32 sum, N lanes) {
  store_low_half(h.high + d, bits(sum) >> 16, lanes);
  store_low_half(h.low + d, bits(sum) & splat(0xffffu), lanes);
}

inline bool keys_are_outside(const AttentionUnit& u) { return !u.bf16 || u.group <= 2; }
inline uint16_t* token_row(void* base, int64_t stride, int64_t token) {
  return static_cast<uint16_t*>(base) + token * stride;
}
/// Where sums of dq wait if keys are outside, those of dk and dv if rows are.
inline Halves dq_halves(const AttentionUnit& u, int64_t r) {
  const int64_t token = r / u.group;
  return {row_of<uint16_t>(u, u.dq, u.dq_stride, r),
          r % u.group == 0 ? token_row(u.dk, u.dk_stride, token) : token_row(u.dv, u.dv_stride, token)};
}
inline Halves dk_halves(const AttentionUnit& u, int64_t j) {
  return {token_row(u.dk, u.dk_stride, j), token_row(u.dq, u.dq_stride, j)};
}
inline Halves dv_halves(const AttentionUnit& u, int64_t j) {
  return {token_row(u.dv, u.dv_stride, j), token_row(u.dq, u.dq_stride, j) + u.head_dim};
}

/// Sums, filled up with zeros to whole vectors, from and to halves.
inline void join_row(const Halves& h, int64_t width, float* sums) {
  for_vectors(width, [&](int64_t d, auto lanes) { store(sums + d, load_sum(h, d, lanes)); });
}
inline void split_row(const float* sums, int64_t width, const Halves& h) {
  for_vectors(width, [&](int64_t d, auto lanes) { store_sum(h, d, load(sums + d, lanes), lanes); });
}
/// The upper half becomes the result.
inline void round_row(const Halves& h, int64_t width, float factor) {
  for_vectors(width, [&](int64_t d, auto lanes) {
    store_as(h.high + d, load_sum(h, d, lanes) * splat(factor), lanes);
  });
}
/// out = factor * sums
template <class T>
void store_row(const float* sums, int64_t width, float factor, T* out) {
  for_vectors(
      width, [&](int64_t d, auto lanes) { store_as(out + d, load(sums + d, lanes) * splat(factor), lanes); });
}

/// Asks for what a tile of rows reads, of dq as well if its sums wait.
template <class T>
void fetch_row_tile(const AttentionUnit& u, int64_t first, int64_t end, bool dq) {
  fetch_rows<T>(u, u.q, u.q_stride, first, end);
  fetch_rows<T>(u, u.dout, u.dout_stride, first, end);
  fetch_rows<T>(u, u.out, u.out_stride, first, end);
  for (int64_t r = first; r < end && dq; ++r) {
    fetch(row_of<T>(u, u.dq, u.dq_stride, r), u.head_dim * static_cast<int64_t>(sizeof(T)));
    if constexpr (sizeof(T) == 2) fetch(dq_halves(u, r).low, u.head_dim * 2);
  }
}

/// For matrices of T. Tiles has:
///   kRows, kKeys          sizes of tiles
///   kAddsDq               save_dq adds, so that dq of a tile always starts from zero
///   factor(u)             of dq and dk that is not in the sums
///   dk, dv, stride        sums of the tile of keys: [key][head_dim]
///   load_rows(u, r0, rows), load_keys(u, j0, keys)
///   add(u, r0, rows, j0, keys, from_zero)  all that they give each other, added to dk, dv and dq
///   load_dq(u, r0, rows), save_dq(u, r0, rows, first)  sums that wait; first: there are none yet
///   store_dq(u, r0, rows)                              the result
template <class T, class Tiles>
void keys_outside(const AttentionUnit& u, const Tiles& t) {
  const int64_t all_rows = u.q_len * u.group, width = u.head_dim;
  for (int64_t j0 = 0; j0 < u.kv_len; j0 += Tiles::kKeys) {
    const int64_t keys = smaller(Tiles::kKeys, u.kv_len - j0);
    t.load_keys(u, j0, keys);
    fill_zero(t.dk, Tiles::kKeys * t.stride);
    fill_zero(t.dv, Tiles::kKeys * t.stride);
    for (int64_t r0 = first_row_of(u, j0); r0 < all_rows; r0 += Tiles::kRows) {
      const int64_t rows = smaller(Tiles::kRows, all_rows - r0);
      t.load_rows(u, r0, rows);
      if (r0 + rows < all_rows) {
        fetch_row_tile<T>(u, r0 + rows, smaller(r0 + rows + Tiles::kRows, all_rows), j0 > 0);
      } else {
        const int64_t next = j0 + keys, end = smaller(next + Tiles::kKeys, u.kv_len);
        fetch_keys<T>(u, u.k, u.k_stride, next, end);
        fetch_keys<T>(u, u.v, u.v_stride, next, end);
        fetch_row_tile<T>(u, next * u.group, smaller(next * u.group + Tiles::kRows, all_rows), true);
      }
      if (j0 > 0) t.load_dq(u, r0, rows);
      t.add(u, r0, rows, j0, keys, Tiles::kAddsDq || j0 == 0);
      t.save_dq(u, r0, rows, j0 == 0);
    }
    if constexpr (sizeof(T) == 2)  // no later key changes them
      for (int64_t r = j0 * u.group; r < (j0 + keys) * u.group; ++r)
        round_row(dq_halves(u, r), width, t.factor(u));
    for (int64_t j = 0; j < keys; ++j) {
      store_row(t.dk + j * t.stride, width, t.factor(u), static_cast<T*>(u.dk) + (j0 + j) * u.dk_stride);
      store_row(t.dv + j * t.stride, width, 1.0f, static_cast<T*>(u.dv) + (j0 + j) * u.dv_stride);
    }
  }
}

/// For BF16. A tile has whole tokens, or is a part of one.
template <class Tiles>
void rows_outside(const AttentionUnit& u, const Tiles& t) {
  const int64_t width = u.head_dim, tokens = larger(1, Tiles::kRows / u.group);
  bool first = true;
  for (int64_t end = u.q_len; end > 0; end -= smaller(end, tokens)) {
    const int64_t begin = larger(0, end - tokens), all = (end - begin) * u.group;
    for (int64_t part = (all - 1) / Tiles::kRows * Tiles::kRows; part >= 0; part -= Tiles::kRows) {
      const int64_t r0 = begin * u.group + part, rows = smaller(Tiles::kRows, all - part);
      t.load_rows(u, r0, rows);
      for (int64_t j0 = 0; j0 < end; j0 += Tiles::kKeys) {
        const int64_t keys = smaller(Tiles::kKeys, end - j0);
        t.load_keys(u, j0, keys);
        fill_zero(t.dk, Tiles::kKeys * t.stride);
        fill_zero(t.dv, Tiles::kKeys * t.stride);
        for (int64_t j = 0; j < keys && !first; ++j) {
          join_row(dk_halves(u, j0 + j), width, t.dk + j * t.stride);
          join_row(dv_halves(u, j0 + j), width, t.dv + j * t.stride);
        }
        t.add(u, r0, rows, j0, keys, j0 == 0);
        for (int64_t j = 0; j < keys; ++j) {
          split_row(t.dk + j * t.stride, width, dk_halves(u, j0 + j));
          split_row(t.dv + j * t.stride, width, dv_halves(u, j0 + j));
        }
      }
      first = false;
      for (int64_t j = begin; j < end && part == 0; ++j) {  // no earlier row changes them
        round_row(dk_halves(u, j), width, t.factor(u));
        round_row(dv_halves(u, j), width, 1.0f);
      }
      t.store_dq(u, r0, rows);
    }
  }
}
