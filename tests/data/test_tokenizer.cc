// SPDX-License-Identifier: Apache-2.0
// Real tokenizers against published ids, and properties every tokenizer must have.
#include <random>
#include <sstream>
#include <thread>

#include "data_testing.h"
#include "octavo/base/file.h"
#include "octavo/data/tokenizer.h"
#include "octavo/data/utf8.h"
#include "tests/shared_data.h"

namespace octavo {
namespace {

std::vector<std::string> split_at(const std::string& text, const std::string& mark) {
  std::vector<std::string> parts;
  size_t begin = 0;
  for (size_t at; (at = text.find(mark, begin)) != std::string::npos; begin = at + mark.size())
    parts.push_back(text.substr(begin, at - begin));
  parts.push_back(text.substr(begin));
  return parts;
}

void check_published(const std::string& tokenizer_name, const std::string& vectors) {
  const auto path = shared_data(tokenizer_name), inputs = shared_data(vectors + ".inp"),
             ids = shared_data(vectors + ".out");
  if (!path || !inputs || !ids) GTEST_SKIP() << tokenizer_name << " is not at hand";
  const auto tokenizer = load_tokenizer(*path);
  const auto texts = split_at(read_file(*inputs), "\n__ggml_vocab_test__\n");
  const auto lines = split_at(read_file(*ids), "\n");
  ASSERT_EQ(texts.size(), 47u);
  ASSERT_GE(lines.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    std::istringstream line(lines[i]);
    std::vector<int32_t> expected;
    for (int32_t id; line >> id;) expected.push_back(id);
    const auto got = tokenizer->encode(texts[i]);
    EXPECT_EQ(got, expected) << texts[i];
    EXPECT_EQ(tokenizer->decode(got), texts[i]);
  }
}

TEST(PublishedIds, Gpt2) { check_published("tokenizer-gpt2", "tokenizer-gpt2/ggml-vocab-gpt-2.gguf"); }
TEST(PublishedIds, Llama2Model) {
  check_published("tokenizer-llama2/tokenizer.model", "tokenizer-llama2/ggml-vocab-llama-spm.gguf");
}
TEST(PublishedIds, Llama2Bin) {
  check_published("tokenizer-llama2/tokenizer.bin", "tokenizer-llama2/ggml-vocab-llama-spm.gguf");
}

TEST(RealTokenizers, ModelAndBinHaveTheSameTokens) {
  const auto path = shared_data("tokenizer-llama2");
  if (!path) GTEST_SKIP();
  const auto model = load_tokenizer(*path), bin = load_tokenizer(*path + "/tokenizer.bin");
  EXPECT_EQ(model->vocab_size(), 32000);
  int different = 0;
  for (int32_t id = 3; id < 32000; ++id) different += model->token_bytes(id) != bin->token_bytes(id);
  EXPECT_EQ(different, 0);
  EXPECT_EQ(bin->vocab_size(), 32000);
  EXPECT_EQ(model->bos(), 1);
  EXPECT_EQ(model->eos(), 2);
  EXPECT_EQ(model->unknown(), 0);
  EXPECT_EQ(model->encode("Hello", true), (std::vector<int32_t>{1, 15043}));
  EXPECT_EQ(model->encode("<s>Hello", false, true), (std::vector<int32_t>{1, 15043}));
  EXPECT_EQ(bin->token_bytes(13), "\n");
}

TEST(RealTokenizers, TinyStories) {
  const auto path = shared_data("model-tinystories-656k");
  if (!path) GTEST_SKIP();
  const auto tokenizer = load_tokenizer(*path);
  EXPECT_EQ(tokenizer->vocab_size(), 2048);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_TRUE(tokenizer->adds_bos());
  const std::string story = "Once upon a time, there was a little girl.";
  const auto ids = tokenizer->encode(story, true);
  EXPECT_EQ(ids.front(), 1);
  EXPECT_EQ(tokenizer->decode(ids, true), story);
  EXPECT_EQ(tokenizer->encode("<|start_story|>Once", false, true).front(), 1);
  EXPECT_NE(tokenizer->encode("<|start_story|>Once", false, false).front(), 1);
}

std::string random_bytes(std::mt19937& random, size_t longest) {
  std::string text;
  const size_t length = random() % longest;
  for (size_t i = 0; i < length; ++i) {
    switch (random() % 4) {
      case 0:
        text += static_cast<char>(random());
        break;
      case 1:
        text += " \n\t'"[random() % 4];
        break;
      case 2:
        utf8_append(text, 0x80 + random() % 0x3000);
        break;
      default:
        text += static_cast<char>('a' + random() % 26);
    }
  }
  return text;
}

TEST(RealTokenizers, AnyBytesComeBack) {
  for (const char* name : {"tokenizer-gpt2", "tokenizer-llama2/tokenizer.model"}) {
    const auto path = shared_data(name);
    if (!path) GTEST_SKIP();
    const auto tokenizer = load_tokenizer(*path);
    const bool spm = tokenizer->stripped_spaces() > 0;
    std::mt19937 random(7);
    for (int i = 0; i < 3000; ++i) {
      const std::string text = random_bytes(random, 60);
      if (spm && text.find("\xE2\x96\x81") != std::string::npos) continue;
      ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), text) << name << " round " << i;
    }
  }
}

TEST(RealTokenizers, StreamGivesWholeCharacters) {
  const auto path = shared_data("tokenizer-gpt2");
  if (!path) GTEST_SKIP();
  const auto tokenizer = load_tokenizer(*path);
  const std::string text = "caf\xC3\xA9 \xF0\x9F\xA6\x99 \xE5\xAD\x97!";
  TokenStream stream(*tokenizer);
  std::string whole;
  for (const int32_t id : tokenizer->encode(text)) {
    const std::string part = stream.push(id);
    EXPECT_EQ(utf8_valid_prefix(part), part.size());
    whole += part;
  }
  EXPECT_EQ(whole + stream.finish(), text);
  TokenStream broken(*tokenizer);
  std::string shown;
  for (const int32_t id : tokenizer->encode("a\xFFz\xE2\x82")) shown += broken.push(id);
  EXPECT_EQ(shown + broken.finish(), "a\xEF\xBF\xBDz\xEF\xBF\xBD");
}

TEST(RealTokenizers, ThreadsAgree) {
  const auto path = shared_data("tokenizer-gpt2"), corpus = shared_data("corpus-tinyshakespeare/input.txt");
  if (!path || !corpus) GTEST_SKIP();
  const auto tokenizer = load_tokenizer(*path);
  const std::string text = read_file(*corpus).substr(0, 100000);
  const auto expected = tokenizer->encode(text);
  std::vector<std::vector<int32_t>> got(4);
  std::vector<std::thread> threads;
  for (auto& ids : got) threads.emplace_back([&] { ids = tokenizer->encode(text); });
  for (auto& thread : threads) thread.join();
  for (const auto& ids : got) EXPECT_EQ(ids, expected);
}

TEST(RealTokenizers, OneLongWordIsNotQuadratic) {
  const auto path = shared_data("tokenizer-gpt2");
  if (!path) GTEST_SKIP();
  const auto tokenizer = load_tokenizer(*path);
  std::string text;
  std::mt19937 random(3);
  for (int i = 0; i < 1'000'000; ++i) text += static_cast<char>('a' + random() % 26);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  const std::string blank(1'000'000, ' ');
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(blank)), blank);
}

}  // namespace
}  // namespace octavo
