// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/rope.h"

#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

struct Tables {
  std::vector<float> cos, sin;
  Tables(int64_t positions, int64_t head_dim) {
    for (int64_t p = 0; p < positions; ++p)
      for (int64_t i = 0; i < head_dim / 2; ++i) {
        const double angle = static_cast<double>(p) *
                             std::pow(10000.0, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
  }
};

TEST(Rope, AgainstFormulaAndBack) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16})
      for (const int64_t head_dim : {2, 6, 32, 64, 80, 128}) {
        SCOPED_TRACE(head_dim);
        const int64_t heads = 3, rows = 7, half = head_dim / 2;
        const Tables tables(50, head_dim);
        const std::vector<int32_t> positions{0, 1, 2, 49, 17, 17, 3};
        const TestMatrix before = TestMatrix(format, rows, heads * head_dim, 5).fill(1, 2);
        TestMatrix x = before;
        rope(x, heads, head_dim, tables.cos.data(), tables.sin.data(), positions.data(), false, pool);
        EXPECT_TRUE(x.padding_intact());
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < heads * head_dim; ++c) {
            const int64_t i = c % head_dim;
            const bool low = i < half;
            const size_t at = static_cast<size_t>(positions[static_cast<size_t>(r)] * half + i % half);
            const double partner = before.get(r, low ? c + half : c - half),
                         turned = low ? -partner : partner;
            const double expected = double{before.get(r, c)} * tables.cos[at] + turned * tables.sin[at];
            const double size = std::fabs(before.get(r, c)) + std::fabs(partner);
            ASSERT_NEAR(
                x.get(r, c), expected,
                step_at(Format::fp32, size) + (format == Format::bf16 ? 0.5 * step_at(format, expected) : 0));
          }
        rope(x, heads, head_dim, tables.cos.data(), tables.sin.data(), positions.data(), true, pool);
        for (int64_t r = 0; r < rows; ++r)
          for (int64_t c = 0; c < heads * head_dim; ++c)
            ASSERT_NEAR(x.get(r, c), before.get(r, c), 3 * step_at(format, 16.0));
      }
  });
}

TEST(Rope, SameBitsForAnyTeam) {
  const Tables tables(9, 64);
  std::vector<int32_t> positions(300);
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i * 7 % 9);
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16}) {
      std::vector<uint8_t> first;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        TestMatrix x = TestMatrix(format, 300, 192).fill(4);
        rope(x, 3, 64, tables.cos.data(), tables.sin.data(), positions.data(), false, pool);
        if (threads == 1) first = x.memory();
        EXPECT_EQ(x.memory(), first);
      }
    }
  });
}

}  // namespace
}  // namespace octavo
