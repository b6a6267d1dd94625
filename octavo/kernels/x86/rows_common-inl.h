// SPDX-License-Identifier: Apache-2.0
// Walking a row in vectors. Included inside an instruction set's namespace, after its simd header.

/// Elements i.. of a row. The branch on the format is the same for a whole row, so it is predicted.
OCTAVO_SIMD F32 load(ConstRow row, int64_t i, auto lanes) {
  return row.bf16 ? load(static_cast<const uint16_t*>(row.data) + i, lanes)
                  : load(static_cast<const float*>(row.data) + i, lanes);
}
OCTAVO_SIMD F32 load(Row row, int64_t i, auto lanes) { return load(ConstRow{row.data, row.bf16}, i, lanes); }

/// Returns the values as stored.
OCTAVO_SIMD F32 store(Row row, int64_t i, F32 a, auto lanes) {
  if (!row.bf16) {
    store(static_cast<float*>(row.data) + i, a, lanes);
    return a;
  }
  const U32 codes = bf16_codes(a);
  store_low_half(static_cast<uint16_t*>(row.data) + i, codes, lanes);
  return from_bits(codes << 16);
}

/// fn(i, lanes) for the vectors of [0, n).
template <class Fn>
OCTAVO_SIMD void sweep(int64_t n, Fn fn) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) fn(i, All{});
  if (i < n) fn(i, First(n - i));
}

/// Asks for the input 4 KiB from here. Loops with twenty and more operations for each load keep too few loads
/// in flight by themselves: without this a BF16 quantization from memory ran at 40 % of its speed. Past the
/// end it does nothing.
OCTAVO_SIMD void fetch_ahead(const void* p) { __builtin_prefetch(static_cast<const char*>(p) + 4096); }
OCTAVO_SIMD void fetch_ahead(ConstRow x, int64_t i) {
  fetch_ahead(static_cast<const char*>(x.data) + i * (x.bf16 ? 2 : 4));
}

/// The same with fn(accumulator, i, lanes) and four accumulators in turn, joined as (0,1),(2,3): additions of
/// one accumulator would wait for each other.
template <class Acc, class Fn, class Join>
OCTAVO_SIMD Acc fold(int64_t n, Acc start, Fn fn, Join join) {
  Acc a = start, b = start, c = start, d = start;
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    fn(a, i, All{});
    fn(b, i + kLanes, All{});
    fn(c, i + 2 * kLanes, All{});
    fn(d, i + 3 * kLanes, All{});
  }
  for (; i + kLanes <= n; i += kLanes) fn(a, i, All{});
  if (i < n) fn(b, i, First(n - i));
  return join(join(a, b), join(c, d));
}

struct Two {
  F32 first, second;
};
struct JoinSums {
  OCTAVO_SIMD F32 operator()(F32 a, F32 b) const { return a + b; }
  OCTAVO_SIMD Two operator()(Two a, Two b) const { return {a.first + b.first, a.second + b.second}; }
};
struct JoinLargest {
  OCTAVO_SIMD U32 operator()(U32 a, U32 b) const { return max(a, b); }
  OCTAVO_SIMD F32 operator()(F32 a, F32 b) const { return max(a, b); }
};

/// Largest magnitude of the used lanes into acc. `a` has anything in the unused ones.
OCTAVO_SIMD void track(U32& acc, F32 a, auto lanes) { acc = max(acc, magnitude(used_or(a, zero(), lanes))); }

/// A number of vectors, as a type.
template <int kNumber>
struct Vectors {
  static constexpr int kCount = kNumber;
};
