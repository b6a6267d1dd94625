// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/text_score.h"

#include "infer/infer_testing.h"

namespace octavo {
namespace {

TEST(TextWindows, EveryTokenButTheFirstOnce) {
  for (const int64_t size : {2, 5, 10, 11, 23})
    for (const int64_t length : {2, 4, 7, 30})
      for (int64_t stride = 1; stride < length; ++stride) {
        std::vector<int32_t> tokens;
        for (int64_t i = 0; i < size; ++i) tokens.push_back(static_cast<int32_t>(i));
        std::vector<int32_t> scored;
        for (const ScoreRequest& w : text_windows(tokens, length, stride)) {
          EXPECT_LE(static_cast<int64_t>(w.tokens.size()), length);
          EXPECT_EQ(w.tokens.front() % stride, 0);
          for (const int32_t t : w.tokens.last(static_cast<size_t>(w.scored))) scored.push_back(t);
        }
        EXPECT_EQ(scored, std::vector<int32_t>(tokens.begin() + 1, tokens.end()))
            << size << " " << length << " " << stride;
      }
}
TEST(TextWindows, WithoutOverlapTheFirstOfEachIsNotScored) {
  const std::vector<int32_t> tokens{0, 1, 2, 3, 4, 5, 6, 7, 8};
  const auto windows = text_windows(tokens, 4, 4);
  ASSERT_EQ(windows.size(), 2u);  // the ninth token alone has nothing before it
  EXPECT_EQ(windows[1].tokens.front(), 4);
  EXPECT_EQ(windows[1].scored, 3);
  EXPECT_TRUE(text_windows(std::vector<int32_t>{7}, 4, 4).empty());
  for (const auto& [length, stride] : {std::pair<int64_t, int64_t>{4, 0}, {4, 5}, {1, 1}})
    EXPECT_NE(error_of([&] { text_windows(tokens, length, stride); }, ExitCode::usage), "");
}

TEST(TextFigures, WordsAndBytesShareTheLossOfAllTokens) {
  const TextTokens text = tokenize_text(ToyTokenizer(), "ab cd\xC3\xA9");
  EXPECT_EQ(text.tokens.front(), kBos);
  EXPECT_EQ(text.own, 7);
  EXPECT_EQ(text.bytes, 7);
  EXPECT_EQ(text.words, 2);
  EXPECT_EQ(text.characters, 6);
  EXPECT_EQ(tokenize_text(ToyTokenizer(true, false), "ab").own, 2);
  const TextFigures f = text_figures(text, 6.0, 3);  // three of seven tokens scored, two nats each
  EXPECT_DOUBLE_EQ(f.loss, 2);
  EXPECT_DOUBLE_EQ(f.token_perplexity, std::exp(2.0));
  EXPECT_NEAR(f.word_perplexity, std::exp(7.0), 1e-9);
  EXPECT_NEAR(f.byte_perplexity, std::exp(2.0), 1e-12);
  EXPECT_NEAR(f.bits_per_byte, 2 / std::log(2.0), 1e-12);
}

class CompareText : public testing::Test {
 protected:
  CompareText() {
    const Rng rng(9);
    for (uint64_t i = 0; i < 60; ++i) tokens_.push_back(static_cast<int32_t>(rng.integer(i) % 41));
    windows_ = text_windows(tokens_, 12, 7);
  }
  std::vector<int32_t> tokens_;
  std::vector<ScoreRequest> windows_;
};

TEST_F(CompareText, AModelWithItself) {
  InferenceModel a(tiny_llama(), "bf16", {3, 12}), b(tiny_llama(), "bf16", {4, 12});
  const TextComparison c = compare_text(a.model, b.model, windows_);
  EXPECT_EQ(c.loss_a, c.loss_b);
  EXPECT_EQ(c.divergence, std::vector<double>(59, 0.0));
  EXPECT_EQ(c.same_top, 59);
  const std::vector<Score> alone = score(a.model, windows_);
  for (size_t w = 0; w < alone.size(); ++w) EXPECT_NEAR(c.loss_a[w], -alone[w].log_likelihood, 1e-12);
}
TEST_F(CompareText, TwoModels) {
  InferenceModel a(tiny_llama(), "fp32", {3, 12}), b(tiny_llama(), "bf16", {3, 12}, 2, 1.3);
  const TextComparison c = compare_text(a.model, b.model, windows_);
  const std::vector<Score> alone_a = score(a.model, windows_), alone_b = score(b.model, windows_);
  double scored = 0;
  for (size_t w = 0; w < windows_.size(); ++w) {
    EXPECT_NEAR(c.loss_a[w], -alone_a[w].log_likelihood, 1e-12);
    EXPECT_NEAR(c.loss_b[w], -alone_b[w].log_likelihood, 1e-12);
    scored += c.scored[w];
  }
  EXPECT_EQ(scored, 59);
  ASSERT_EQ(c.divergence.size(), 59u);
  EXPECT_GT(*std::min_element(c.divergence.begin(), c.divergence.end()), 0);
  EXPECT_LT(c.same_top, 59);
  EXPECT_GT(c.same_top, 0);
}
TEST_F(CompareText, OtherVocabulariesAreRefused) {
  ModelConfig larger_vocabulary = tiny_llama();
  larger_vocabulary.vocab_size = 42;
  InferenceModel a(tiny_llama(), "fp32", {1, 12}), b(larger_vocabulary, "fp32", {1, 12});
  EXPECT_NE(error_of([&] { compare_text(a.model, b.model, windows_); }).find("41 and 42"), std::string::npos);
}

}  // namespace
}  // namespace octavo
