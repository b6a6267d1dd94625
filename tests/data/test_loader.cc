// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "data_testing.h"
#include "octavo/data/loader.h"

namespace octavo {
namespace {

// A source of the tokens 0, 1, 2, ...: a token is its own position.
TokenSource counting_source(const TempDir& dir, int64_t tokens) {
  std::vector<int32_t> ids(tokens);
  for (int64_t i = 0; i < tokens; ++i) ids[i] = static_cast<int32_t>(i);
  write_shard(dir / "a.octok", {.vocab_size = 1 << 20}, ids);
  return TokenSource({dir / "a.octok"});
}

TEST(IndexPermutation, IsABijection) {
  for (const uint64_t size : {1, 2, 3, 4, 5, 16, 17, 100, 1000, 4096, 4097}) {
    std::set<uint64_t> images;
    const IndexPermutation permutation(size, 42, size);
    for (uint64_t i = 0; i < size; ++i) {
      ASSERT_LT(permutation(i), size);
      images.insert(permutation(i));
    }
    EXPECT_EQ(images.size(), size);
  }
  const IndexPermutation large(uint64_t{1} << 40, 1, 2);
  EXPECT_LT(large(12345), uint64_t{1} << 40);
}

TEST(IndexPermutation, DependsOnKeyAndStreamAndMixes) {
  const IndexPermutation a(1000, 1, 0), b(1000, 2, 0), c(1000, 1, 1);
  int same_b = 0, same_c = 0, fixed = 0, neighbours = 0;
  for (uint64_t i = 0; i + 1 < 1000; ++i) {
    same_b += a(i) == b(i);
    same_c += a(i) == c(i);
    fixed += a(i) == i;
    neighbours += a(i + 1) == a(i) + 1;
  }
  EXPECT_LT(same_b, 12);
  EXPECT_LT(same_c, 12);
  EXPECT_LT(fixed, 12);
  EXPECT_LT(neighbours, 12);
}

TEST(SampleLoader, SequentialWindowsCoverTheCorpus) {
  const TempDir dir;
  const TokenSource source = counting_source(dir, 101);
  const SampleLoader loader(source, 10, 0, false);
  ASSERT_EQ(loader.samples_per_epoch(), 10u);
  int32_t x[10], y[10];
  for (uint64_t i = 0; i < 20; ++i) {
    loader.sample(i, x, y);
    for (int j = 0; j < 10; ++j) {
      ASSERT_EQ(x[j], static_cast<int32_t>(i % 10) * 10 + j);
      ASSERT_EQ(y[j], x[j] + 1);
    }
  }
}

TEST(SampleLoader, ShuffledEpochVisitsEveryWindowOnce) {
  const TempDir dir;
  const TokenSource source = counting_source(dir, 1005);
  const SampleLoader loader(source, 10, 9, true);
  const uint64_t n = loader.samples_per_epoch();
  ASSERT_EQ(n, 100u);
  std::set<int64_t> phases;
  for (uint64_t epoch = 0; epoch < 8; ++epoch) {
    std::set<int64_t> windows;
    for (uint64_t i = 0; i < n; ++i) windows.insert(loader.window(epoch * n + i));
    EXPECT_GE(windows.size(),
              n - 1);  // the last may coincide with the one before only when pushed back onto it
    EXPECT_LT(*windows.begin(), 10);
    EXPECT_LE(*windows.rbegin(), 1005 - 11);
    phases.insert(*windows.begin());
  }
  EXPECT_GE(phases.size(), 3u);
}

TEST(SampleLoader, IsAPureFunctionOfSeedAndIndex) {
  const TempDir dir;
  const TokenSource source = counting_source(dir, 5000);
  const SampleLoader a(source, 16, 5, true), b(source, 16, 5, true), other(source, 16, 6, true);
  std::vector<int64_t> forward, backward, different;
  for (uint64_t i = 0; i < 1000; ++i) forward.push_back(a.window(i)), different.push_back(other.window(i));
  for (uint64_t i = 1000; i-- > 0;) backward.push_back(b.window(i));
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, different);
  std::vector<int32_t> x(64), y(64), one_x(16), one_y(16);
  a.batch(100, 4, x.data(), y.data());
  for (int row = 0; row < 4; ++row) {
    b.sample(100 + row, one_x.data(), one_y.data());
    EXPECT_TRUE(std::equal(one_x.begin(), one_x.end(), x.begin() + row * 16));
    EXPECT_TRUE(std::equal(one_y.begin(), one_y.end(), y.begin() + row * 16));
  }
}

TEST(SampleLoader, TooShortACorpus) {
  const TempDir dir;
  const TokenSource source = counting_source(dir, 16);
  EXPECT_EQ(SampleLoader(source, 15, 0, true).samples_per_epoch(), 1u);
  const std::string message = error_of([&] { SampleLoader(source, 16, 0, true); });
  EXPECT_HAS(message, "16 tokens");
  EXPECT_HAS(message, "at least 17");
  EXPECT_HAS(error_of([&] { SampleLoader(source, 0, 0, true); }, ExitCode::usage), "sequence length");
}

}  // namespace
}  // namespace octavo
