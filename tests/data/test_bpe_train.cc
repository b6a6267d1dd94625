// SPDX-License-Identifier: Apache-2.0
#include <map>
#include <random>

#include "data_testing.h"
#include "octavo/base/file.h"
#include "octavo/data/bpe_train.h"
#include "octavo/data/regex.h"
#include "octavo/data/tokenizer.h"
#include "tests/shared_data.h"

namespace octavo {
namespace {

// The definition, counted anew for every merge.
std::vector<std::pair<int32_t, int32_t>> naive_merges(const std::string& text, int32_t vocab_size,
                                                      int64_t min_frequency) {
  const TrainedBpe start = BpeTrainer().train({.vocab_size = 257});
  std::vector<std::string> tokens = start.tokens;
  std::map<std::string, int64_t> counts;
  const Regex pattern(kGpt2Pattern, false, "test");
  for (size_t at = 0, begin, end; pattern.next(text, at, begin, end); at = end)
    ++counts[text.substr(begin, end - begin)];
  std::vector<std::pair<std::vector<int32_t>, int64_t>> words;
  for (const auto& [word, count] : counts) {
    std::vector<int32_t> ids;
    for (const char c : word)
      ids.push_back(static_cast<int32_t>(std::find(tokens.begin() + 1, tokens.end(), std::string(1, c)) -
                                         tokens.begin()));
    words.emplace_back(ids, count);
  }
  std::vector<std::pair<int32_t, int32_t>> merges;
  while (static_cast<int32_t>(tokens.size()) < vocab_size) {
    std::map<std::pair<int32_t, int32_t>, int64_t> pairs;
    for (const auto& [ids, count] : words)
      for (size_t i = 0; i + 1 < ids.size(); ++i) pairs[{ids[i], ids[i + 1]}] += count;
    auto best = pairs.end();
    for (auto it = pairs.begin(); it != pairs.end(); ++it)
      if (best == pairs.end() || it->second > best->second) best = it;
    if (best == pairs.end() || best->second < min_frequency) break;
    const auto [left, right] = best->first;
    merges.push_back(best->first);
    const std::string joined = tokens[left] + tokens[right];
    auto known = std::find(tokens.begin() + 1, tokens.end(), joined);
    const auto id = static_cast<int32_t>(known - tokens.begin());
    if (known == tokens.end()) tokens.push_back(joined);
    for (auto& [ids, count] : words) {
      std::vector<int32_t> merged;
      for (size_t i = 0; i < ids.size(); ++i) {
        const bool here = i + 1 < ids.size() && ids[i] == left && ids[i + 1] == right;
        merged.push_back(here ? id : ids[i]);
        i += here;
      }
      ids = merged;
    }
  }
  return merges;
}

TEST(BpeTraining, EqualsTheDefinition) {
  std::mt19937 random(11);
  for (int round = 0; round < 20; ++round) {
    std::string text;
    for (int i = 0; i < 400; ++i) text += "aaabcc d\n"[random() % 9];
    BpeTrainer trainer;
    trainer.add(text);
    const TrainedBpe got = trainer.train({.vocab_size = 320});
    EXPECT_EQ(got.merges, naive_merges(text, 320, 2)) << text;
  }
}

TEST(BpeTraining, TiesGoToTheSmallestIds) {
  BpeTrainer trainer;
  trainer.add("dc\nba\ndc\nba\n");
  const TrainedBpe got = trainer.train({.vocab_size = 258});
  ASSERT_EQ(got.merges.size(), 1u);
  EXPECT_EQ(got.tokens[257], "ba");
}

TEST(BpeTraining, SavedFileGivesTheSameTokens) {
  const TempDir dir;
  BpeTrainer trainer;
  const std::string text = "the cat and the hat and the bat sat. \xC3\xA9t\xC3\xA9 \xC3\xA9t\xC3\xA9\n";
  trainer.add(text + text);
  BpeTrainOptions options{.vocab_size = 300, .special_tokens = {"<|endoftext|>", "<|pad|>"}};
  int32_t last = 0;
  options.progress = [&](int32_t done, int32_t) { last = done; };
  const TrainedBpe trained = trainer.train(options);
  EXPECT_EQ(last, static_cast<int32_t>(trained.tokens.size()));
  save_tokenizer_json(trained, dir / "t");
  const auto t = load_tokenizer(dir / "t");
  ASSERT_EQ(t->vocab_size(), static_cast<int32_t>(trained.tokens.size()));
  for (int32_t id = 0; id < t->vocab_size(); ++id) EXPECT_EQ(t->token_bytes(id), trained.tokens[id]);
  EXPECT_EQ(t->eos(), 0);
  EXPECT_EQ(t->find("<|pad|>"), 1);
  EXPECT_EQ(t->decode(t->encode(text)), text);
  EXPECT_LT(t->encode(text).size(), text.size());
  save_tokenizer_json(trained, dir / "digits", "\\p{N}|[^\\p{N}]+");
  EXPECT_EQ(load_tokenizer(dir / "digits")->encode("12").size(), 2u);
}

TEST(BpeTraining, StopsWhenNothingIsFrequentAndRefusesTinyVocabularies) {
  BpeTrainer trainer;
  trainer.add("abcdefg");
  EXPECT_EQ(trainer.train({.vocab_size = 1000}).tokens.size(), 257u);
  EXPECT_HAS(error_of([&] { trainer.train({.vocab_size = 100}); }, ExitCode::usage), "257");
}

TEST(BpeTraining, RealTextComesBack) {
  const auto corpus = shared_data("corpus-tinyshakespeare/input.txt");
  if (!corpus) GTEST_SKIP();
  const std::string text = read_file(*corpus);
  BpeTrainer trainer;
  trainer.add(text);
  const TempDir dir;
  const TrainedBpe trained = trainer.train({.vocab_size = 2048});
  EXPECT_EQ(trained.tokens.size(), 2048u);
  save_tokenizer_json(trained, dir.path());
  const auto t = load_tokenizer(dir.path());
  const auto ids = t->encode(text);
  EXPECT_EQ(t->decode(ids), text);
  EXPECT_LT(ids.size(), text.size() * 10 / 27);
}

}  // namespace
}  // namespace octavo
