// SPDX-License-Identifier: Apache-2.0
// Shards with marks, and the windows of examples cut from them.
#include <set>

#include "data_testing.h"
#include "octavo/base/file.h"
#include "octavo/data/loader.h"

namespace octavo {
namespace {

constexpr int32_t kNo = kNotCounted;

// Examples of these lengths whose last two tokens count; a token is its own position.
struct Marked {
  std::vector<int32_t> ids;
  std::vector<uint8_t> marks;
  explicit Marked(const std::vector<int>& lengths) {
    for (const int length : lengths)
      for (int i = 0; i < length; ++i) {
        ids.push_back(static_cast<int32_t>(ids.size()));
        marks.push_back(static_cast<uint8_t>((i == 0 ? kBegins : 0) | (i >= length - 2 ? kCounts : 0)));
      }
  }
  // In shards of at most `shard` tokens.
  TokenSource source(const TempDir& dir, size_t shard = 1 << 20) const {
    std::vector<std::string> paths;
    for (size_t at = 0; at < ids.size(); at += shard) {
      const size_t count = std::min(shard, ids.size() - at);
      paths.push_back(dir / (std::to_string(shard) + "_" + std::to_string(at) + ".octok"));
      write_shard(paths.back(), {.vocab_size = 1 << 20, .marked = true}, {ids.data() + at, count},
                  {marks.data() + at, count});
    }
    return TokenSource(paths);
  }
};

struct Row {
  std::vector<int32_t> x, y;
  bool operator==(const Row&) const = default;
};
Row row(const SampleLoader& loader, uint64_t index) {
  Row r{std::vector<int32_t>(static_cast<size_t>(loader.seq_len())),
        std::vector<int32_t>(static_cast<size_t>(loader.seq_len()))};
  loader.sample(index, r.x.data(), r.y.data());
  return r;
}

// 4 + 5 fit into 10; 3 does not any more; 12 is cut and its answer lost; 2 is left for the end.
const std::vector<int> kLengths{4, 5, 3, 12, 2};

TEST(MarkedShards, MarksComeBack) {
  const TempDir dir;
  const Marked marked(kLengths);
  for (const size_t shard : {1, 3, 7, 8, 9, 1000}) {
    TokenSource source = marked.source(dir, shard);
    source.require_vocabulary(1 << 20);
    for (int64_t begin = 0; begin < 26; ++begin) {
      std::vector<uint8_t> marks(static_cast<size_t>(26 - begin));
      source.marks(begin, 26 - begin, marks.data());
      ASSERT_TRUE(std::equal(marks.begin(), marks.end(), marked.marks.begin() + begin))
          << shard << " " << begin;
    }
    uint8_t out;
    EXPECT_THROW(source.marks(26, 1, &out), std::out_of_range);
  }
}

TEST(MarkedShards, Damage) {
  const TempDir dir;
  const Marked marked(kLengths);
  write_shard(dir / "a.octok", {.vocab_size = 1 << 20, .marked = true}, marked.ids, marked.marks);
  const std::string good = read_file(dir / "a.octok");
  EXPECT_EQ(good.size(), 64u + 26 * 4 + 2 * 4);
  for (size_t at = 0; at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    const std::string file = dir.write("b.octok", flipped);
    EXPECT_ANY_THROW(TokenSource({file}).require_vocabulary(1 << 20)) << at;
  }
  EXPECT_HAS(error_of([&] { TokenSource({dir.write("b.octok", good.substr(0, good.size() - 1))}); }),
             "a file of 176 bytes), found 175");
  write_shard(dir / "plain.octok", {.vocab_size = 1 << 20}, marked.ids);
  EXPECT_FALSE(TokenSource({dir / "plain.octok"}).marked());
  EXPECT_HAS(error_of([&] { TokenSource({dir / "a.octok", dir / "plain.octok"}); }), "cannot be mixed");
  EXPECT_HAS(error_of(
                 [&] {
                   write_shard(dir / "a.bin",
                               {.format = ShardFormat::llmc, .vocab_size = 100, .marked = true}, marked.ids,
                               marked.marks);
                 },
                 ExitCode::unsupported),
             "no place for marks");
}

TEST(MarkedLoader, TokenByToken) {
  const TempDir dir;
  const Marked marked(kLengths);
  for (const size_t shard : {5, 1000}) {
    const TokenSource source = marked.source(dir, shard);
    const SampleLoader loader(source, 9, 0, false);
    ASSERT_EQ(loader.samples_per_epoch(), 3u);
    EXPECT_EQ(row(loader, 0), (Row{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {kNo, 2, 3, kNo, kNo, kNo, 7, 8, kNo}}));
    // The beginning of the long example fills the window and counts for nothing.
    EXPECT_EQ(row(loader, 1),
              (Row{{9, 10, 11, 12, 13, 14, 15, 16, 17}, {10, 11, kNo, kNo, kNo, kNo, kNo, kNo, kNo}}));
    // Behind the end comes the beginning; token 24 begins its example and is nobody's target.
    EXPECT_EQ(row(loader, 2),
              (Row{{24, 25, 0, 1, 2, 3, 4, 5, 6}, {25, kNo, kNo, kNo, kNo, kNo, kNo, kNo, kNo}}));
    EXPECT_EQ(row(loader, 4), row(loader, 1));
    EXPECT_EQ(loader.counted(0), 4);
    EXPECT_EQ(loader.counted(1), 2);
    EXPECT_EQ(loader.counted(2), 1);
    EXPECT_EQ(loader.fit().examples, 5);
    EXPECT_EQ(loader.fit().cut, 1);
    EXPECT_EQ(loader.fit().lost, 1);

    const SampleLoader alone(source, 9, 0, false, Packing::single);
    ASSERT_EQ(alone.samples_per_epoch(), 4u);
    EXPECT_EQ(row(alone, 0), (Row{{0, 1, 2, 3, 4, 5, 6, 7, 8}, {kNo, 2, 3, kNo, kNo, kNo, kNo, kNo, kNo}}));
    EXPECT_EQ(row(alone, 1),
              (Row{{4, 5, 6, 7, 8, 9, 10, 11, 12}, {kNo, kNo, 7, 8, kNo, kNo, kNo, kNo, kNo}}));
  }
}

TEST(MarkedLoader, FullWindowsAndSourcesShorterThanOne) {
  const TempDir dir;
  const TokenSource source = Marked({6, 4, 12}).source(dir);
  const SampleLoader loader(source, 9, 0, false);
  ASSERT_EQ(loader.samples_per_epoch(), 1u);  // 6 + 4 fill it to the last target
  EXPECT_EQ(row(loader, 0).y, (std::vector<int32_t>{kNo, kNo, kNo, 4, 5, kNo, kNo, 8, 9}));
  const SampleLoader longer(source, 10, 0, false);
  EXPECT_EQ(longer.fit().cut, 1);
  const SampleLoader cut(source, 10, 0, false, Packing::single);
  ASSERT_EQ(cut.samples_per_epoch(), 3u);
  EXPECT_EQ(row(cut, 2).y, (std::vector<int32_t>{kNo, kNo, kNo, kNo, kNo, kNo, kNo, kNo, kNo, 20}));

  const TempDir other;
  const TokenSource tiny = Marked({3}).source(other);
  const SampleLoader around(tiny, 7, 1, true);
  EXPECT_EQ(row(around, 5), (Row{{0, 1, 2, 0, 1, 2, 0}, {1, 2, kNo, kNo, kNo, kNo, kNo}}));
  const TempDir third;
  const TokenSource late = Marked({8, 9}).source(third);
  EXPECT_HAS(error_of([&] { SampleLoader(late, 4, 0, true); }), "has no answer within");
}

TEST(MarkedLoader, IsAPureFunctionOfSeedAndIndex) {
  const TempDir dir;
  std::vector<int> lengths;
  for (int i = 0; i < 400; ++i) lengths.push_back(2 + i * 7 % 23);
  const TokenSource whole = Marked(lengths).source(dir), parts = Marked(lengths).source(dir, 1000);
  const SampleLoader a(whole, 32, 5, true), b(parts, 32, 5, true), other(whole, 32, 6, true);
  const uint64_t n = a.samples_per_epoch();
  std::vector<Row> forward, backward, different;
  for (uint64_t i = 0; i < 3 * n; ++i) forward.push_back(row(a, i)), different.push_back(row(other, i));
  for (uint64_t i = 3 * n; i-- > 0;) backward.push_back(row(b, i));
  std::reverse(backward.begin(), backward.end());
  EXPECT_EQ(forward, backward);
  EXPECT_NE(forward, different);
  for (uint64_t epoch = 0; epoch < 3; ++epoch) {
    std::multiset<int32_t> targets;
    int64_t counted = 0;
    for (uint64_t i = epoch * n; i < (epoch + 1) * n; ++i) {
      counted += a.counted(i);
      for (const int32_t y : forward[i].y)
        if (y != kNo) targets.insert(y);
    }
    EXPECT_EQ(counted, static_cast<int64_t>(targets.size()));
    EXPECT_EQ(targets.size(), std::set<int32_t>(targets.begin(), targets.end()).size());
    // Two of each example, one where it has only two tokens.
    EXPECT_EQ(counted, 2 * 400 - std::count(lengths.begin(), lengths.end(), 2));
  }
  std::vector<Row> first(forward.begin(), forward.begin() + static_cast<int64_t>(n)),
      second(forward.begin() + static_cast<int64_t>(n), forward.begin() + static_cast<int64_t>(2 * n));
  EXPECT_NE(first, second);
  std::vector<int32_t> x(32 * 4), y(32 * 4);
  a.batch(7, 4, x.data(), y.data());
  for (uint64_t r = 0; r < 4; ++r)
    EXPECT_TRUE(std::equal(forward[7 + r].y.begin(), forward[7 + r].y.end(),
                           y.begin() + static_cast<int64_t>(r) * 32));
}

}  // namespace
}  // namespace octavo
