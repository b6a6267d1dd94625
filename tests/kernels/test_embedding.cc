// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/embedding.h"

#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

constexpr int64_t kRows = 50, kVocab = 11, kPositions = 7;

struct Indices {
  std::vector<int32_t> tokens, positions;
  Indices() {
    for (int32_t r = 0; r < kRows; ++r) {
      tokens.push_back(r * r % kVocab);
      positions.push_back(r % kPositions);
    }
  }
};

TEST(Embedding, Forward) {
  ThreadPool pool(2);
  const Indices at;
  for_each_isa([&] {
    for (const Format table_format : {Format::fp32, Format::bf16})
      for (const Format format : {Format::fp32, Format::bf16})
        for (const int64_t cols : {1, 16, 61})
          for (const bool with_positions : {false, true}) {
            const TestMatrix table = TestMatrix(table_format, kVocab, cols, 2).fill(1);
            const TestMatrix places = TestMatrix(table_format, kPositions, cols, 1).fill(2);
            TestMatrix out(format, kRows, cols, 3);
            embedding_forward(table, with_positions ? ConstMatrix(places) : ConstMatrix(), at.tokens.data(),
                              at.positions.data(), out, pool);
            EXPECT_TRUE(out.padding_intact());
            for (int64_t r = 0; r < kRows; ++r)
              for (int64_t c = 0; c < cols; ++c) {
                float expected = table.get(at.tokens[static_cast<size_t>(r)], c);
                if (with_positions) expected += places.get(at.positions[static_cast<size_t>(r)], c);
                if (format == Format::bf16) expected = bf16_to_float(bf16_from_float(expected));
                ASSERT_EQ(out.get(r, c), expected);
              }
          }
  });
}

// Additions in the order of the rows, so the same in every variant and team.
TEST(Embedding, BackwardInRowOrder) {
  const Indices at;
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16})
      for (const int64_t cols : {1, 64, 333})
        for (const int threads : {1, 2, 3}) {
          ThreadPool pool(threads);
          const TestMatrix dout = TestMatrix(format, kRows, cols, 3).fill(3);
          TestMatrix dtable = TestMatrix(Format::fp32, kVocab, cols, 1).fill(4);
          TestMatrix dposition = TestMatrix(Format::fp32, kPositions, cols).fill(5);
          TestMatrix expected_table = dtable, expected_position = dposition;
          for (int64_t r = 0; r < kRows; ++r)
            for (int64_t c = 0; c < cols; ++c) {
              const int64_t token = at.tokens[static_cast<size_t>(r)],
                            place = at.positions[static_cast<size_t>(r)];
              expected_table.set(token, c, expected_table.get(token, c) + dout.get(r, c));
              expected_position.set(place, c, expected_position.get(place, c) + dout.get(r, c));
            }
          embedding_backward(dout, at.tokens.data(), at.positions.data(), dtable, dposition, pool);
          EXPECT_EQ(dtable.memory(), expected_table.memory());
          EXPECT_EQ(dposition.memory(), expected_position.memory());
          embedding_backward(dout, at.tokens.data(), nullptr, dtable, {}, pool);
          EXPECT_EQ(dposition.memory(), expected_position.memory());
          EXPECT_NE(dtable.memory(), expected_table.memory());
        }
  });
}

}  // namespace
}  // namespace octavo
