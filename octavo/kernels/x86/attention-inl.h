// SPDX-License-Identifier: Apache-2.0
// Rows and scratch of attention, written against simd_avx2.h / simd_avx512.h and included inside their
// namespaces (so no includes here; the including file has attention_variants.h and string.h).

inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
inline int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
inline int64_t round_up(int64_t n) { return ceil_div(n, kLanes) * kLanes; }

/// Hands out parts of a thread's scratch; without a base it only counts.
class Scratch {
 public:
  explicit Scratch(void* base) : base_(static_cast<float*>(base)) {}
  float* floats(int64_t count) {
    float* at = base_ ? base_ + used_ : nullptr;
    used_ += ceil_div(count, 16) * 16;  // 64-byte alignment
    return at;
  }
  size_t bytes() const { return static_cast<size_t>(used_) * sizeof(float); }

 private:
  float* base_;
  int64_t used_ = 0;
};

/// Where row r of q, out, dout or dq starts.
template <class T, class P>
T* row_of(const AttentionUnit& u, P* base, int64_t stride, int64_t r) {
  return static_cast<T*>(base) + r / u.group * stride + r % u.group * u.head_dim;
}
/// How many keys row r sees.
inline int64_t seen_by(const AttentionUnit& u, int64_t r) { return r / u.group + u.kv_len - u.q_len + 1; }
/// The first row that sees key j.
inline int64_t first_row_of(const AttentionUnit& u, int64_t j) {
  return larger(0, j - (u.kv_len - u.q_len)) * u.group;
}
inline int64_t lse_index(const AttentionUnit& u, int64_t r) { return r % u.group * u.q_len + r / u.group; }

template <class N>
void store_as(float* x, F32 value, N lanes) {
  store(x, value, lanes);
}
template <class N>
void store_as(uint16_t* x, F32 value, N lanes) {
  store_low_half(x, bf16_codes(value), lanes);
}

/// Calls fn(d, All or First) for the vectors of a row of `width` numbers.
template <class Fn>
void for_vectors(int64_t width, const Fn& fn) {
  int64_t d = 0;
  for (; d + kLanes <= width; d += kLanes) fn(d, All{});
  if (d < width) fn(d, First(width - d));
}
/// y = factor * x, filled up with zeros to whole vectors.
template <class T>
void widen_row(const T* x, int64_t width, float factor, float* y) {
  for_vectors(width, [&](int64_t d, auto lanes) { store(y + d, load(x + d, lanes) * splat(factor)); });
}
/// Asks for memory that is read soon. Rows of a head lie far apart, so the hardware sees no stream.
inline void fetch(const void* p, int64_t bytes) {
  const char* at = static_cast<const char*>(p);
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(at + i, _MM_HINT_T0);
  _mm_prefetch(at + bytes - 1, _MM_HINT_T0);
}
template <class T>
void fetch_keys(const AttentionUnit& u, const void* base, int64_t stride, int64_t first, int64_t end) {
  for (int64_t j = first; j < end; ++j)
    fetch(static_cast<const T*>(base) + j * stride, u.head_dim * static_cast<int64_t>(sizeof(T)));
}
template <class T>
void fetch_rows(const AttentionUnit& u, const void* base, int64_t stride, int64_t first, int64_t end) {
  for (int64_t r = first; r < end; ++r)
    fetch(row_of<const T>(u, base, stride, r), u.head_dim * static_cast<int64_t>(sizeof(T)));
}
/// exp(x), or its square root.
template <bool kSqrt>
F32 exponential(F32 x) {
  if constexpr (kSqrt) return exp(x * splat(0.5f));
  return exp(x);
}
inline void fill_zero(float* x, int64_t count) { memset(x, 0, static_cast<size_t>(count) * sizeof(float)); }
