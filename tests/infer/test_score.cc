// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/score.h"

#include "infer/infer_testing.h"

namespace octavo {
namespace {

std::string text_of(std::span<const int32_t> ids) {
  std::string text;
  for (const int32_t id : ids)
    text += id == kBos ? "<" : id == kJoined ? "[, ]" : std::string(1, static_cast<char>(id));
  return text;
}
std::pair<std::string, std::string> split(std::string_view context, std::string_view continuation,
                                          int64_t longest = 100,
                                          const ToyTokenizer& tokenizer = ToyTokenizer()) {
  const SplitTokens s = split_tokens(tokenizer, context, continuation, longest, "here:1");
  const size_t before = s.tokens.size() - static_cast<size_t>(s.scored);
  const std::span<const int32_t> all(s.tokens);
  return {text_of(all.first(before)), text_of(all.subspan(before))};
}
using Pair = std::pair<std::string, std::string>;

TEST(SplitTokens, TheContextIsAsLongAsItIsAlone) {
  EXPECT_EQ(split("ab", " c"), Pair("<ab", " c"));
  EXPECT_EQ(split("ab", " c", 100, ToyTokenizer(true, false)), Pair("ab", " c"));
}
TEST(SplitTokens, SpacesAtTheEndOfTheContextMove) {
  EXPECT_EQ(split("ab  ", "c"), Pair("<ab", "  c"));
  EXPECT_EQ(split("ab\n", "c"), Pair("<ab", "\nc"));
}
TEST(SplitTokens, ATokenAcrossTheBorder) {
  // "a," has two tokens; behind as many of "a[, ]cd" come c and d: the comma of the context stays as it was.
  EXPECT_EQ(split("a,", " cd"), Pair("<a,", "cd"));
  // Nothing would be left of "a[, ]": the context ends where the encodings part.
  EXPECT_EQ(split("a,", " "), Pair("<a", "[, ]"));
}
TEST(SplitTokens, AnEmptyContextIsBosOrEos) {
  EXPECT_EQ(split("", " c"), Pair("<", " c"));
  EXPECT_EQ(split("", " c", 100, ToyTokenizer(true, false)), Pair("<", " c"));
  EXPECT_NE(error_of([] { split("", " c", 100, ToyTokenizer(false, false)); }).find("here:1"),
            std::string::npos);
}
TEST(SplitTokens, TheBeginningIsDropped) {
  EXPECT_EQ(split("abcdef", "gh", 4), Pair("def", "gh"));  // five tokens: four are read
  EXPECT_EQ(split("abcdef", "ghij", 4), Pair("f", "ghij"));
  const std::string message = error_of([] { split("abcdef", "ghijk", 4); });
  EXPECT_NE(message.find("here:1: the continuation has 5 tokens"), std::string::npos) << message;
  EXPECT_NE(error_of([] { split("ab", ""); }).find("here:1"), std::string::npos);
}

TEST(SplitTokens, AsTrained) {
  const auto trained = [](std::string_view context, std::string_view continuation, int64_t longest = 100) {
    const SplitTokens s = split_as_trained(ToyTokenizer(), context, continuation, longest, "here:1");
    const size_t before = s.tokens.size() - static_cast<size_t>(s.scored);
    const std::span<const int32_t> all(s.tokens);
    return Pair(text_of(all.first(before)), text_of(all.subspan(before)));
  };
  EXPECT_EQ(trained("ab", " c"), split("ab", " c"));
  EXPECT_EQ(trained("a,", " cd"), Pair("<a,", " cd"));  // what is scored is all of the continuation
  EXPECT_EQ(trained("abcdef", "gh", 4), Pair("def", "gh"));
  EXPECT_NE(error_of([&] { trained("abcdef", "ghijk", 4); }).find("here:1"), std::string::npos);
  EXPECT_NE(error_of([&] { trained("ab", ""); }).find("here:1"), std::string::npos);
}

TEST(BatchesByLength, EqualLengthsTogetherLongestFirstInOrder) {
  const std::vector<int64_t> lengths{3, 5, 3, 3, 7, 5, 3};
  const std::vector<std::vector<size_t>> expected{{4}, {1, 5}, {0, 2, 3}, {6}};
  EXPECT_EQ(batches_by_length(lengths, 3), expected);
  EXPECT_TRUE(batches_by_length({}, 3).empty());
  EXPECT_EQ(batches_by_length(lengths, 1).size(), lengths.size());
}

class ScoreTest : public testing::Test {
 protected:
  /// Sequences of random tokens with lengths 2 to 9; the continuation is what is left of a third.
  ScoreTest() {
    const Rng rng(3);
    for (uint64_t i = 0; i < 24; ++i) {
      std::vector<int32_t> tokens;
      for (uint64_t t = 0; t < 2 + i % 8; ++t)
        tokens.push_back(static_cast<int32_t>(rng.integer(100 * i + t) % 41));
      texts_.push_back(tokens);
    }
    texts_.push_back(texts_[7]);  // reads the same as another
    texts_.back().back() = (texts_.back().back() + 1) % 41;
    for (const auto& t : texts_)
      requests_.push_back({t, static_cast<int64_t>(t.size() - 1 - (t.size() - 1) / 3)});
  }
  std::vector<Score> run(const std::string& recipe, int64_t batch, int threads = 2) {
    InferenceModel model(tiny_llama(), recipe, {batch, 9}, threads);
    return score(model.model, requests_);
  }
  std::vector<std::vector<int32_t>> texts_;
  std::vector<ScoreRequest> requests_;
};

TEST_F(ScoreTest, IsTheLossOfTheContinuation) {
  InferenceModel model(tiny_llama(), "fp32", {4, 9});
  const std::vector<Score> scores = score(model.model, requests_);
  for (size_t i = 0; i < requests_.size(); ++i) {
    const auto& t = texts_[i];
    const size_t length = t.size() - 1, scored = static_cast<size_t>(requests_[i].scored);
    std::vector<int32_t> targets(t.begin() + 1, t.end()), positions(length);
    for (size_t p = 0; p < length; ++p) {
      positions[p] = static_cast<int32_t>(p);
      if (p + scored < length) targets[p] = -100;
    }
    const LossSum sum =
        model.model.evaluate({1, static_cast<int64_t>(length), t.data(), positions.data()}, targets.data());
    ASSERT_EQ(sum.tokens, requests_[i].scored);
    EXPECT_NEAR(scores[i].log_likelihood, -sum.loss, 1e-5 * (1 + sum.loss)) << i;
  }
}
TEST_F(ScoreTest, GreedyMeansEveryTokenIsTheMostLikely) {
  InferenceModel model(tiny_llama(), "fp32", {4, 9});
  int64_t greedy_ones = 0;
  for (std::vector<int32_t>& t : texts_) {  // continue each text greedily by two tokens
    t.resize(std::min<size_t>(t.size(), 6));
    for (int more = 0; more < 2; ++more) {
      std::vector<int32_t> positions;
      for (size_t p = 0; p < t.size(); ++p) positions.push_back(static_cast<int32_t>(p));
      model.model.read({1, static_cast<int64_t>(t.size()), t.data(), positions.data()});
      const std::vector<int64_t> last{static_cast<int64_t>(t.size()) - 1};
      int32_t best = 0;
      double sum = 0;
      model.model.row_logits(
          last, [&](int64_t, ConstMatrix logits) { logit_statistics(logits, &sum, &best, model.pool); });
      t.push_back(best);
    }
  }
  std::vector<ScoreRequest> requests;
  for (size_t i = 0; i < texts_.size(); ++i) {
    if (i % 2) texts_[i].end()[-2] = (texts_[i].end()[-2] + 1) % 41;  // another token than the greedy one
    requests.push_back({texts_[i], 2});
  }
  const std::vector<Score> scores = score(model.model, requests);
  for (size_t i = 0; i < scores.size(); ++i) {
    EXPECT_TRUE(i % 2 == 0 || !scores[i].greedy);
    greedy_ones += scores[i].greedy;
  }
  EXPECT_EQ(greedy_ones, static_cast<int64_t>((texts_.size() + 1) / 2));
}
TEST_F(ScoreTest, WithoutScalesTheBatchMattersNoMoreThanTheOrderOfSums) {
  // Passes of a few rows go through the GEMM of generation.
  for (const auto& [recipe, tolerance] : {std::pair{"fp32", 1e-5}, std::pair{"bf16", 0.05}}) {
    const std::vector<Score> one = run(recipe, 1);
    for (const int64_t batch : {2, 7, 32}) {
      const std::vector<Score> other = run(recipe, batch), threads = run(recipe, batch, 1);
      for (size_t i = 0; i < one.size(); ++i) {
        EXPECT_NEAR(one[i].log_likelihood, other[i].log_likelihood,
                    tolerance * static_cast<double>(requests_[i].scored))
            << recipe << " " << batch << " " << i;
        EXPECT_EQ(other[i].log_likelihood, threads[i].log_likelihood);
      }
    }
  }
}
TEST_F(ScoreTest, WithScalesTheSameBatchGivesTheSameBits) {
  const std::vector<Score> a = run("fp8-amax", 4, 1), b = run("fp8-amax", 4, 2), fp32 = run("fp32", 4);
  bool differs = false;
  for (size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].log_likelihood, b[i].log_likelihood) << i;
    EXPECT_NEAR(a[i].log_likelihood, fp32[i].log_likelihood, 0.5 * static_cast<double>(requests_[i].scored));
    differs |= a[i].log_likelihood != fp32[i].log_likelihood;
  }
  EXPECT_TRUE(differs);
}
TEST_F(ScoreTest, RequestsThatReadTheSameShareASequence) {
  const std::vector<Score> together = run("fp32", 4);
  std::swap(requests_[0], requests_.back());
  const std::vector<Score> swapped = run("fp32", 4);
  EXPECT_EQ(together[0].log_likelihood, swapped.back().log_likelihood);
  EXPECT_EQ(together.back().log_likelihood, swapped[0].log_likelihood);
  EXPECT_NE(together[7].log_likelihood, together.back().log_likelihood);
}
TEST_F(ScoreTest, ImpossibleRequestsAreErrors) {
  InferenceModel model(tiny_llama(), "fp32", {2, 5});
  const auto message = [&](std::vector<int32_t> tokens, int64_t scored) {
    return error_of([&] { score(model.model, std::vector<ScoreRequest>{{tokens, scored}}); });
  };
  EXPECT_EQ(message({1, 2, 3, 4, 5, 6}, 1), "");
  EXPECT_NE(message({1, 2, 3, 4, 5, 6, 7}, 1).find("6 tokens is longer than the 5"), std::string::npos);
  EXPECT_NE(message({1, 2}, 2).find("cannot be scored"), std::string::npos);
  EXPECT_NE(message({1, 2}, 0).find("cannot be scored"), std::string::npos);
  EXPECT_NE(message({1, 41}, 1).find("token 41"), std::string::npos);
  Parameter& head = *model.model.parameters().find("lm_head.weight");
  std::vector<float> broken(static_cast<size_t>(head.size()), 0.0f);
  broken[3] = std::numeric_limits<float>::quiet_NaN();
  model.model.set_parameter(head, broken.data());
  EXPECT_NE(message({1, 2}, 1).find("NaN"), std::string::npos);
}

}  // namespace
}  // namespace octavo
