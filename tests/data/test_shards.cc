// SPDX-License-Identifier: Apache-2.0
#include <cstring>
#include <numeric>

#include "data_testing.h"
#include "octavo/base/checksum.h"
#include "octavo/base/file.h"
#include "octavo/data/token_source.h"

namespace octavo {
namespace {

std::vector<int32_t> counting(int64_t first, int64_t count, int64_t modulus = 50000) {
  std::vector<int32_t> tokens(count);
  for (int64_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>((first + i) % modulus);
  return tokens;
}

std::vector<int32_t> all_of(const TokenSource& source) {
  std::vector<int32_t> tokens(source.size());
  source.tokens(0, source.size(), tokens.data());
  return tokens;
}

TEST(Shards, EveryFormatComesBack) {
  const TempDir dir;
  for (const auto format : {ShardFormat::octavo, ShardFormat::llmc, ShardFormat::nanogpt})
    for (const int64_t vocab : {50000, 100000}) {
      if (format == ShardFormat::nanogpt && vocab > 65536) continue;
      const auto tokens = counting(vocab - 500, 1000, vocab);
      const std::string path = dir / (std::string("x") + shard_extension(format));
      write_shard(path, {.format = format, .vocab_size = vocab, .tokenizer = 7, .text_bytes = 4000}, tokens);
      TokenSource source({path});
      EXPECT_EQ(source.header(0).format, format);
      EXPECT_EQ(source.header(0).bytes_per_token, vocab > 65536 ? 4 : 2);
      EXPECT_EQ(all_of(source), tokens);
      EXPECT_EQ(source.vocab_size(), format == ShardFormat::octavo ? vocab : 0);
      EXPECT_EQ(source.text_bytes(), format == ShardFormat::octavo ? 4000 : 0);
      source.require_vocabulary(vocab);
    }
}

TEST(Shards, LlmcBytes) {
  const TempDir dir;
  write_shard(dir / "a.bin", {.format = ShardFormat::llmc, .vocab_size = 300}, std::vector<int32_t>{1, 258});
  const std::string file = read_file(dir / "a.bin");
  ASSERT_EQ(file.size(), 1028u);
  int32_t header[3];
  std::memcpy(header, file.data(), sizeof header);
  EXPECT_EQ(header[0], 20240520);
  EXPECT_EQ(header[1], 1);
  EXPECT_EQ(header[2], 2);
  EXPECT_EQ(file.substr(1024), std::string("\x01\x00\x02\x01", 4));
}

TEST(Shards, SeveralShardsAreOneSequence) {
  const TempDir dir;
  std::vector<std::string> paths;
  const int64_t sizes[] = {5, 1, 17, 100};
  int64_t first = 0;
  for (const int64_t size : sizes) {
    paths.push_back(dir / (std::to_string(first) + ".octok"));
    write_shard(paths.back(), {.vocab_size = 50000}, counting(first, size));
    first += size;
  }
  const TokenSource source(paths);
  ASSERT_EQ(source.size(), 123);
  for (int64_t begin = 0; begin <= 123; ++begin)
    for (int64_t count = 0; begin + count <= 123; count += 7) {
      std::vector<int32_t> out(count);
      source.tokens(begin, count, out.data());
      ASSERT_EQ(out, counting(begin, count));
    }
  int32_t out;
  EXPECT_THROW(source.tokens(123, 1, &out), std::out_of_range);
  EXPECT_THROW(source.tokens(-1, 1, &out), std::out_of_range);
  EXPECT_THROW(source.tokens(5, INT64_MAX, &out), std::out_of_range);
}

TEST(Shards, TruncationAndDamage) {
  const TempDir dir;
  const std::string path = dir / "a.octok";
  write_shard(path, {.vocab_size = 50000}, counting(0, 100));
  const std::string good = read_file(path);
  const auto error = [&](const std::string& content, const std::string& name = "a.octok") {
    const std::string file = dir.write(name, content);
    const std::string message = error_of([&] { TokenSource({file}).require_vocabulary(50000); });
    if (!message.empty()) {
      EXPECT_HAS(message, file);
    }
    return message;
  };
  EXPECT_EQ(error(good), "");
  EXPECT_HAS(error(good.substr(0, 263)), "264 bytes), found 263");
  EXPECT_HAS(error(good + "xx"), "264 bytes), found 266");
  for (const size_t cut : {0, 1, 7, 8, 63, 64, 65}) EXPECT_NE(error(good.substr(0, cut)), "") << cut;
  for (size_t at = 0; at < good.size(); ++at) {
    std::string flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x10);
    std::string file = dir.write("a.octok", flipped);
    EXPECT_ANY_THROW(TokenSource({file}).require_vocabulary(50000)) << at;
  }
  // A count that overflows when multiplied, with a checksum that fits it.
  std::string huge = good;
  const uint64_t count = (uint64_t{1} << 63) - 1;
  std::memcpy(huge.data() + 24, &count, 8);
  const uint64_t sum = checksum64(huge.data(), 56);
  std::memcpy(huge.data() + 56, &sum, 8);
  EXPECT_HAS(error(huge), "truncated");
  EXPECT_HAS(error(std::string(64, 'x')), "OCTOKEN");
  EXPECT_HAS(error("xyz", "odd.bin"), "even number");
  EXPECT_HAS(error("", "none.bin"), "no tokens");
  EXPECT_HAS(error("whatever", "a.txt"), "no token shard");
}

TEST(Shards, LlmcDamage) {
  const TempDir dir;
  const auto error = [&](std::vector<int32_t> head, size_t bytes, ExitCode code = ExitCode::bad_data) {
    std::string content(bytes, '\0');
    std::memcpy(content.data(), head.data(), head.size() * 4);
    const std::string file = dir.write("a.bin", content);
    return error_of([&] { TokenSource{{file}}; }, code);
  };
  EXPECT_EQ(error({20240520, 1, 10}, 1044), "");
  EXPECT_EQ(error({20240801, 7, 10}, 1064), "");
  EXPECT_HAS(error({20240520, 1, INT32_MAX}, 1044), "truncated");
  EXPECT_HAS(error({20240520, 1, -1}, 1044), "-1");
  EXPECT_HAS(error({20240520, 1, 10}, 100), "1024");
  EXPECT_HAS(error({20240520, 3, 10}, 1044, ExitCode::unsupported), "version 3");
}

TEST(Shards, VocabularyMismatchNamesShardAndPosition) {
  const TempDir dir;
  write_shard(dir / "a.bin", {.format = ShardFormat::nanogpt, .vocab_size = 1000}, counting(0, 10));
  write_shard(dir / "b.bin", {.format = ShardFormat::nanogpt, .vocab_size = 1000},
              std::vector<int32_t>{1, 2, 999});
  TokenSource source({dir / "a.bin", dir / "b.bin"});
  source.require_vocabulary(1000);
  const std::string message = error_of([&] { source.require_vocabulary(999); });
  EXPECT_HAS(message, "b.bin");
  EXPECT_HAS(message, "position 2");
  EXPECT_HAS(message, "vocabulary does not match the model");
  EXPECT_HAS(error_of([&] { write_shard(dir / "c.bin", {.vocab_size = 5}, counting(0, 10)); }), "position 5");
  EXPECT_FALSE(std::filesystem::exists(dir / "c.bin"));
}

TEST(Shards, DifferentTokenizersDoNotMix) {
  const TempDir dir;
  write_shard(dir / "a.octok", {.vocab_size = 100, .tokenizer = 1}, counting(0, 10));
  write_shard(dir / "b.octok", {.vocab_size = 100, .tokenizer = 2}, counting(0, 10));
  EXPECT_HAS(error_of([&] { TokenSource({dir / "a.octok", dir / "b.octok"}); }), "another tokenizer");
  EXPECT_HAS(error_of([&] { shard_format("llm.c"); }, ExitCode::usage), "llmc");
  EXPECT_HAS(error_of([&] { shard_token_bytes(ShardFormat::nanogpt, 70000); }, ExitCode::unsupported),
             "65535");
}

}  // namespace
}  // namespace octavo
