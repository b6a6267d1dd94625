// SPDX-License-Identifier: Apache-2.0
// Included inside an instruction set's namespace, after rows_common-inl.h. FP16 numbers in FP32 lanes.

void round_fp16(float* x, int64_t n) {
  sweep(n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA { store(x + i, to_fp16(load(x + i, lanes)), lanes); });
}

/// kRows rows from `first` on, all columns, with the FP32 sums of a block of k in registers.
template <int kRows>
void sum_fp16_rows(const Fp16SumBlock& g, int64_t first) {
  constexpr int kVectors = static_cast<int>(kFp16Columns / kLanes);
  const float* const a = g.a + first * g.a_stride;
  float* const sum = g.sum + first * kFp16Columns;
  for (int64_t k0 = 0; k0 < g.k; k0 += kFp16Block) {
    const int64_t end = k0 + kFp16Block < g.k ? k0 + kFp16Block : g.k;
    F32 part[kRows][kVectors];
    for (auto& row : part)
      for (F32& v : row) v = zero();
    for (int64_t k = k0; k < end; ++k) {
      F32 b[kVectors];
      for (int v = 0; v < kVectors; ++v) b[v] = load(g.b + k * kFp16Columns + v * kLanes, All{});
      for (int r = 0; r < kRows; ++r) {
        const F32 value = splat(a[r * g.a_stride + k]);
        for (int v = 0; v < kVectors; ++v) part[r][v] = fma(value, b[v], part[r][v]);
      }
    }
    for (int r = 0; r < kRows; ++r)
      for (int v = 0; v < kVectors; ++v) {
        float* const at = sum + r * kFp16Columns + v * kLanes;
        if (g.row_factor)
          part[r][v] =
              part[r][v] * (splat(g.row_factor[first + r]) * load(g.column_factor + v * kLanes, All{}));
        store(at, to_fp16(load(at, All{}) + part[r][v]));
      }
  }
}

void sum_fp16(const Fp16SumBlock& g) {
  constexpr int kRows = kLanes == 16 ? 4 : 2;
  int64_t r = 0;
  for (; r + kRows <= g.rows; r += kRows) sum_fp16_rows<kRows>(g, r);
  for (; r < g.rows; ++r) sum_fp16_rows<1>(g, r);
}
