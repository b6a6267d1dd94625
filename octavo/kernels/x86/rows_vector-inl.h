// SPDX-License-Identifier: Apache-2.0
// Included inside an instruction set's namespace, after rows_common-inl.h.

void rope(Row x, int64_t heads, int64_t head_dim, const float* cos, const float* sin, bool inverse) {
  const int64_t half = head_dim / 2;
  const U32 flip = splat(inverse ? 0x80000000u : 0u);
  for (int64_t head = 0; head < heads; ++head)
    sweep(half, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      const int64_t low = head * head_dim + i, high = low + half;
      const F32 a = load(x, low, lanes), b = load(x, high, lanes), c = load(cos + i, lanes);
      const F32 s = from_bits(bits(load(sin + i, lanes)) ^ flip);
      store(x, low, fnma(b, s, a * c), lanes);
      store(x, high, fma(a, s, b * c), lanes);
    });
}

void softmax_stats(ConstRow x, int64_t cols, float* row_max, float* row_sum) {
  const F32 lowest = splat(-__builtin_inff());
  // max() gives its second argument when one is NaN: the accumulator. The sum then shows the NaN.
  const float top = largest(fold(
      cols, lowest,
      [&](F32& acc, int64_t i, auto lanes)
          OCTAVO_LAMBDA { acc = max(used_or(load(x, i, lanes), lowest, lanes), acc); },
      JoinLargest{}));
  *row_max = top;
  *row_sum = sum(fold(
      cols, zero(),
      [&](F32& acc, int64_t i, auto lanes)
          OCTAVO_LAMBDA { acc = acc + used_or(exp(load(x, i, lanes) - splat(top)), zero(), lanes); },
      JoinSums{}));
}

void softmax_apply(Row x, int64_t cols, float max, float factor) {
  sweep(cols, [&](int64_t i, auto lanes)
                  OCTAVO_LAMBDA { store(x, i, exp(load(x, i, lanes) - splat(max)) * splat(factor), lanes); });
}

void add(ConstRow a, ConstRow b, Row y, int64_t cols) {
  sweep(cols, [&](int64_t i, auto lanes)
                  OCTAVO_LAMBDA { store(y, i, load(a, i, lanes) + load(b, i, lanes), lanes); });
}

void accumulate(ConstRow x, float* sum, int64_t cols) {
  sweep(cols, [&](int64_t i, auto lanes)
                  OCTAVO_LAMBDA { store(sum + i, load(sum + i, lanes) + load(x, i, lanes), lanes); });
}

/// Down the rows with one strip of columns in registers; every 256 rows go to a second accumulator, so that
/// rounding errors grow with hundreds of additions and not with thousands.
void column_sum(ConstRow x, int64_t rows, int64_t stride, float* sum, int64_t cols) {
  constexpr int64_t kBlock = 256;
  const auto strip = [&](int64_t c, auto lanes, auto count) OCTAVO_LAMBDA {
    constexpr int kVectors = decltype(count)::kCount;
    F32 total[kVectors];
    for (F32& t : total) t = zero();
    for (int64_t first = 0; first < rows; first += kBlock) {
      const int64_t last = first + kBlock < rows ? first + kBlock : rows;
      F32 part[kVectors];
      for (F32& p : part) p = zero();
      for (int64_t r = first; r < last; ++r)
        for (int v = 0; v < kVectors; ++v) part[v] = part[v] + load(x, r * stride + c + v * kLanes, lanes);
      for (int v = 0; v < kVectors; ++v) total[v] = total[v] + part[v];
    }
    for (int v = 0; v < kVectors; ++v) {
      float* out = sum + c + v * kLanes;
      store(out, load(out, lanes) + total[v], lanes);
    }
  };
  int64_t c = 0;
  for (; c + 4 * kLanes <= cols; c += 4 * kLanes) strip(c, All{}, Vectors<4>{});
  for (; c + kLanes <= cols; c += kLanes) strip(c, All{}, Vectors<1>{});
  if (c < cols) strip(c, First(cols - c), Vectors<1>{});
}

double sum_squares(const StoredRow& row, int64_t n) {
  return with_elements(row, n, [&](auto x) OCTAVO_LAMBDA {
    F64Pair acc = zero_pair();
    sweep(n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA { add_squares(acc, load(x, i, lanes)); });
    return sum(acc);
  });
}
