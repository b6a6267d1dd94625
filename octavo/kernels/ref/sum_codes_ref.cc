// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <limits>

#include "octavo/kernels/ref/rows_ref.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

/// The sum of parts[begin, end) of element i, with a tree over them or in order.
class Summation {
 public:
  Summation(SumRow& row, int64_t i) : row_(row), i_(row.first + i) {}

  float value(int begin, int end) {
    if (end - begin == 1) {
      StoredRow part = row_.like;
      part.data = row_.parts[begin];
      return get(part, i_);
    }
    int left = end - begin - 1;  // how many the last addition has on its left
    if (row_.tree)
      for (left = 1; 2 * left < end - begin;) left *= 2;
    const bool last = begin == 0 && end == row_.count;
    const float a = value(begin, begin + left), b = value(begin + left, end);
    return rounded(a + b, last);
  }

 private:
  float rounded(float x, bool last) {
    if (!row_.rounds) return x;
    const Format format = static_cast<Format>(row_.like.format);
    const uint32_t code = encode(format, x, Rounding::nearest_even, Overflow::saturate);
    const bool counts = !(last && row_.last_is_result);
    if (counts && (code & ~spec(format).sign_mask()) == row_.grid.max_code) ++row_.saturated;
    return decode(format, code);
  }

  SumRow& row_;
  int64_t i_;
};

}  // namespace

void sum_codes_ref(SumRow& row) {
  for (int64_t i = 0; i < row.n; ++i) {
    float sum = Summation(row, i).value(0, row.count) * row.factor;
    if (std::isnan(sum)) sum = std::numeric_limits<float>::quiet_NaN();
    row.sum[i] = sum;
    row.amax = std::max(row.amax, magnitude_bits(sum));
  }
}

}  // namespace octavo
