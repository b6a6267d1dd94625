// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/vector.h"

#include <limits>

#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

TEST(Vector, SumSquares) {
  for_each_isa([] {
    for (const int64_t n : {0, 1, 15, 16, 1001, 65536, 65537, 400003}) {
      const std::vector<float> x = random_vector(n, 1, 3);
      double expected = 0, first = 0;
      for (const float v : x) expected += double{v} * v;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        const double result = sum_squares(x.data(), n, pool);
        EXPECT_NEAR(result, expected, 1e-12 * expected);
        if (threads == 1) first = result;
        EXPECT_EQ(result, first);
      }
    }
    // Squares that FP32 could not hold.
    ThreadPool pool(1);
    const std::vector<float> huge(40, 1e30f);
    EXPECT_NEAR(sum_squares(huge.data(), 40, pool), 40e60, 1e55);
    const std::vector<float> broken{1, std::numeric_limits<float>::quiet_NaN()};
    EXPECT_TRUE(std::isnan(sum_squares(broken.data(), 2, pool)));
  });
}

TEST(Vector, ColumnSum) {
  for_each_isa([] {
    for (const Format format : {Format::fp32, Format::bf16})
      for (const int64_t rows : {0, 1, 255, 256, 1000})
        for (const int64_t cols : {1, 8, 33, 64, 203}) {
          const TestMatrix x = TestMatrix(format, rows, cols, 3).fill(2, 1, 0.5);
          const std::vector<float> start = random_vector(cols, 3);
          std::vector<float> first;
          for (const int threads : {1, 2, 3}) {
            ThreadPool pool(threads);
            std::vector<float> out = start;
            column_sum(x, out.data(), pool);
            if (threads == 1) first = out;
            EXPECT_EQ(out, first);
          }
          for (int64_t c = 0; c < cols; ++c) {
            double expected = start[static_cast<size_t>(c)], size = std::fabs(expected);
            for (int64_t r = 0; r < rows; ++r) {
              expected += x.get(r, c);
              size += std::fabs(x.get(r, c));
            }
            ASSERT_NEAR(first[static_cast<size_t>(c)], expected, 1e-6 * size) << rows << ' ' << c;
          }
        }
  });
}

TEST(Vector, Add) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Format from : {Format::fp32, Format::bf16})
      for (const Format to : {Format::fp32, Format::bf16})
        for (const int64_t cols : {1, 31, 1000}) {
          const TestMatrix x = TestMatrix(from, 21, cols, 1).fill(1),
                           before = TestMatrix(to, 21, cols, 2).fill(2);
          TestMatrix y = before;
          add(x, y, pool);
          EXPECT_TRUE(y.padding_intact());
          for (int64_t r = 0; r < 21; ++r)
            for (int64_t c = 0; c < cols; ++c) {
              const float exact = x.get(r, c) + before.get(r, c);
              ASSERT_EQ(y.get(r, c), to == Format::bf16 ? bf16_to_float(bf16_from_float(exact)) : exact);
            }
        }
  });
}

}  // namespace
}  // namespace octavo
