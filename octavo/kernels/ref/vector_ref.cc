// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "octavo/kernels/ref/rows_ref.h"

namespace octavo {

void rope_ref(Row x, int64_t heads, int64_t head_dim, const float* cos, const float* sin, bool inverse) {
  const int64_t half = head_dim / 2;
  for (int64_t head = 0; head < heads; ++head)
    for (int64_t i = 0; i < half; ++i) {
      const int64_t low = head * head_dim + i, high = low + half;
      const double a = get(x, low), b = get(x, high), c = cos[i], s = inverse ? -sin[i] : sin[i];
      put(x, low, a * c - b * s);
      put(x, high, b * c + a * s);
    }
}

void softmax_stats_ref(ConstRow x, int64_t cols, float* max, float* sum) {
  float largest = -std::numeric_limits<float>::infinity();
  for (int64_t i = 0; i < cols; ++i)
    if (get(x, i) > largest) largest = get(x, i);
  double total = 0;
  for (int64_t i = 0; i < cols; ++i) total += std::exp(double{get(x, i)} - largest);
  *max = largest;
  *sum = static_cast<float>(total);
}

void softmax_apply_ref(Row x, int64_t cols, float max, float factor) {
  for (int64_t i = 0; i < cols; ++i) put(x, i, std::exp(double{get(x, i)} - max) * factor);
}

void add_ref(ConstRow a, ConstRow b, Row y, int64_t cols) {
  for (int64_t i = 0; i < cols; ++i) put(y, i, get(a, i) + get(b, i));
}

void accumulate_ref(ConstRow x, float* sum, int64_t cols) {
  for (int64_t i = 0; i < cols; ++i) sum[i] += get(x, i);
}

void column_sum_ref(ConstRow x, int64_t rows, int64_t stride, float* sum, int64_t cols) {
  for (int64_t c = 0; c < cols; ++c) {
    double total = 0;
    for (int64_t r = 0; r < rows; ++r) total += get(x, r * stride + c);
    sum[c] = static_cast<float>(sum[c] + total);
  }
}

double sum_squares_ref(const StoredRow& x, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += double{get(x, i)} * get(x, i);
  return total;
}

}  // namespace octavo
