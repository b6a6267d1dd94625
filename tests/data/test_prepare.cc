// SPDX-License-Identifier: Apache-2.0
#include <set>

#include "data_testing.h"
#include "octavo/base/file.h"
#include "octavo/data/prepare.h"
#include "octavo/data/tokenizer.h"

namespace octavo {
namespace {

std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "line number " + std::to_string(i) + " of the text\n";
  return text;
}

std::vector<int32_t> all_of(const TokenSource& source) {
  std::vector<int32_t> tokens(source.size());
  source.tokens(0, source.size(), tokens.data());
  return tokens;
}

TEST(Prepare, TextFileSplitsAtALine) {
  const TempDir dir;
  const std::string text = lines(1000);
  for (const auto format : {ShardFormat::octavo, ShardFormat::llmc, ShardFormat::nanogpt}) {
    PrepareOptions options{
        .inputs = {dir.write("a.txt", text)}, .vocab_size = 300, .out = dir / to_string(format)};
    options.format = format;
    options.val_fraction = 0.1;
    options.shard_tokens = 2000;
    std::set<std::string> stages;
    options.progress = [&](const char* stage, int64_t done, int64_t total) {
      stages.insert(stage);
      EXPECT_LE(done, total);
    };
    const PrepareResult result = prepare(options);
    EXPECT_EQ(stages.size(), 3u);
    const Dataset read = read_dataset(options.out);
    EXPECT_EQ(read.vocab_size, 300);
    EXPECT_EQ(read.train.tokens, result.dataset.train.tokens);
    EXPECT_EQ(read.format, format);
    EXPECT_GT(read.train.shards.size(), 1u);
    EXPECT_EQ(read.train.text_bytes + read.val.text_bytes, static_cast<int64_t>(text.size()));
    EXPECT_NEAR(static_cast<double>(read.val.text_bytes) / static_cast<double>(text.size()), 0.1, 0.005);
    const auto tokenizer = load_tokenizer(options.out);
    const std::string train = tokenizer->decode(all_of(open_split(read, read.train)), true);
    const std::string val = tokenizer->decode(all_of(open_split(read, read.val)), true);
    EXPECT_EQ(train + val, text);
    EXPECT_EQ(train.back(), '\n');
    EXPECT_EQ(read.sources.at(0).bytes, static_cast<int64_t>(text.size()));
  }
}

TEST(Prepare, JsonLinesSplitBetweenDocuments) {
  const TempDir dir;
  std::string content;
  for (int i = 0; i < 100; ++i)
    content += "{\"text\": \"document " + std::to_string(i) + "\\nwith lines\"}\n";
  PrepareOptions options{.inputs = {dir.write("a.jsonl", content)}, .vocab_size = 270, .out = dir / "out"};
  options.val_fraction = 0.2;
  const Dataset d = prepare(options).dataset;
  EXPECT_EQ(d.train.documents + d.val.documents, 100);
  EXPECT_NEAR(static_cast<double>(d.val.documents), 20, 1);
  const auto tokenizer = load_tokenizer(options.out);
  const auto tokens = all_of(open_split(d, d.val));
  EXPECT_EQ(std::count(tokens.begin(), tokens.end(), *tokenizer->eos()), d.val.documents);
  EXPECT_EQ(tokens.back(), *tokenizer->eos());
  EXPECT_TRUE(tokenizer->decode(tokens).starts_with("document 8") ||
              tokenizer->decode(tokens).starts_with("document 7"));
}

TEST(Prepare, UsesAGivenTokenizerAndKeepsIt) {
  const TempDir dir;
  PrepareOptions first{.inputs = {dir.write("a.txt", lines(300))}, .vocab_size = 280, .out = dir / "one"};
  prepare(first);
  PrepareOptions second{
      .inputs = {dir.write("b.txt", lines(200))}, .tokenizer = dir / "one", .out = dir / "two"};
  second.val_fraction = 0;
  const Dataset d = prepare(second).dataset;
  EXPECT_EQ(d.vocab_size, 280);
  EXPECT_EQ(d.val.tokens, 0);
  EXPECT_EQ(load_tokenizer(dir / "two")->fingerprint(), d.tokenizer_fingerprint);
  EXPECT_EQ(read_file(dir / "one/tokenizer.json"), read_file(dir / "two/tokenizer.json"));
  EXPECT_HAS(error_of([&] { open_split(d, d.val); }), "no validation tokens");
  // Again over the same directory, and in place.
  second.tokenizer = dir / "two";
  EXPECT_EQ(prepare(second).dataset.train.tokens, d.train.tokens);
}

TEST(Prepare, DoesNotRemoveSomebodyElsesTokenizer) {
  const TempDir dir;
  dir.write("model/tokenizer.model", "precious");
  PrepareOptions options{.inputs = {dir.write("a.txt", lines(300))}, .vocab_size = 280, .out = dir / "model"};
  EXPECT_HAS(error_of([&] { prepare(options); }, ExitCode::usage), "tokenizer.model");
  EXPECT_EQ(read_file(dir / "model/tokenizer.model"), "precious");
}

TEST(Prepare, SameInputSameBytes) {
  const TempDir dir;
  for (const char* out : {"one", "two"})
    prepare({.inputs = {dir.write("a.txt", lines(500))}, .vocab_size = 300, .out = dir / out});
  for (const char* file : {"train_000000.octok", "val_000000.octok", "dataset.json", "tokenizer.json"})
    EXPECT_EQ(read_file(dir / ("one/" + std::string(file))), read_file(dir / ("two/" + std::string(file))))
        << file;
}

TEST(Prepare, TooShortOrContradictory) {
  const TempDir dir;
  const std::string tiny = dir.write("a.txt", "x");
  EXPECT_HAS(error_of([&] { prepare({.inputs = {tiny}, .vocab_size = 300, .out = dir / "o"}); }),
             "too short");
  EXPECT_FALSE(std::filesystem::exists(dir / "o/dataset.json"));
  const auto usage = [&](PrepareOptions options) {
    return error_of([&] { prepare(options); }, ExitCode::usage);
  };
  EXPECT_HAS(usage({.out = dir / "o"}), "input");
  EXPECT_HAS(usage({.inputs = {tiny}}), "output");
  EXPECT_HAS(usage({.inputs = {tiny}, .out = dir / "o", .val_fraction = 1}), "fraction");
  EXPECT_HAS(usage({.inputs = {tiny}, .out = dir / "o", .shard_tokens = 0}), "shard tokens");
  EXPECT_HAS(usage({.inputs = {tiny}, .vocab_size = 10, .out = dir / "o"}), "257");
}

TEST(Dataset, HostileManifests) {
  const TempDir dir;
  prepare({.inputs = {dir.write("a.txt", lines(300))}, .vocab_size = 280, .out = dir / "d"});
  const std::string good = read_file(dir / "d/dataset.json");
  const auto error = [&](const std::string& from, const std::string& to) {
    std::string changed = good;
    EXPECT_NE(changed.find(from), std::string::npos) << from;
    changed.replace(changed.find(from), from.size(), to);
    dir.write("d/dataset.json", changed);
    return error_of([&] {
      const Dataset d = read_dataset(dir / "d");
      open_split(d, d.train);
    });
  };
  EXPECT_HAS(error("train_000000", "../train_000000"), "plain file names");
  EXPECT_HAS(error("\"vocab_size\": 280", "\"vocab_size\": -1"), "vocab_size");
  EXPECT_HAS(error("\"tokens\": ", "\"tokens\": 9"), "its shards hold");
  EXPECT_HAS(error("\"version\": 1", "\"version\": 2"), "version");
  EXPECT_HAS(error("\"shards\": [", "\"shards\": [3,"), "plain file names");
  EXPECT_HAS(error("\"sources\"", "\"source\""), "sources");
  EXPECT_HAS(error_of([&] { read_dataset(dir.path()); }), "dataset.json");
}

}  // namespace
}  // namespace octavo
