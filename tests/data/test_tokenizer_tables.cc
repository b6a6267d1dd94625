// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/tokenizer_tables.h"

#include <cmath>
#include <cstdio>
#include <deque>

#include "data_testing.h"
#include "octavo/data/tokenizer.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

using Ids = std::vector<int32_t>;

/// Tables with their texts.
struct Owned {
  std::deque<std::string> texts;
  TokenizerTables tables;
  std::string_view keep(const std::string& text) { return texts.emplace_back(text); }
  void token(const std::string& text, int64_t type = 1, float score = 0) {
    tables.tokens.push_back(keep(text));
    tables.types.push_back(type);
    tables.scores.push_back(score);
  }
};

/// All bytes as 0..255, then "ab", "12", " a", two control tokens and a user-defined one.
void make_bpe(Owned& o, const std::string& pre) {
  o.tables.source = "m.gguf";
  o.tables.model = "gpt2";
  o.tables.pre = pre;
  const std::string space = bytes_to_printable(" ");
  for (int b = 0; b < 256; ++b) o.token(bytes_to_printable(std::string(1, static_cast<char>(b))));
  for (const std::string& text : {std::string("ab"), std::string("12"), space + "a"}) o.token(text);
  o.token("<|start|>", 3);
  o.token("<|end|>", 3);
  o.token("<tool>", 4);
  for (const std::string& merge : {std::string("a b"), std::string("1 2"), space + " a"})
    o.tables.merges.push_back(o.keep(merge));
  o.tables.bos = 259;
  o.tables.eos = 260;
}

std::unique_ptr<Tokenizer> saved(const TokenizerTables& tables, const TempDir& dir) {
  save_tokenizer_tables(tables, dir.path());
  return load_tokenizer(dir.path());
}

TEST(TokenizerTables, ByteLevelBpe) {
  const TempDir dir;
  Owned o;
  make_bpe(o, "gpt-2");
  const auto t = saved(o.tables, dir);
  EXPECT_EQ(t->vocab_size(), 262);
  EXPECT_EQ(t->encode("ab 12"), (Ids{256, ' ', 257}));
  EXPECT_EQ(t->encode("x<tool>", false, false), (Ids{'x', 261}));
  EXPECT_EQ(t->encode("<|end|>", false, true), Ids{260});
  EXPECT_EQ(t->bos(), 259);
  EXPECT_EQ(t->eos(), 260);
  EXPECT_FALSE(t->adds_bos());
  EXPECT_TRUE(t->is_special(259));
  EXPECT_FALSE(t->is_special(261));
  EXPECT_EQ(t->decode(Ids{258, 260, 255}, true), " a\xff");
}

TEST(TokenizerTables, PreTokenizersCutDigitsTheirOwnWay) {
  const auto ids = [](const char* pre) {
    const TempDir dir;
    Owned o;
    make_bpe(o, pre);
    return saved(o.tables, dir)->encode("12");
  };
  EXPECT_EQ(ids("gpt-2"), Ids{257});
  EXPECT_EQ(ids("smollm"), (Ids{'1', '2'}));  // every digit is a word
  EXPECT_EQ(ids("llama-bpe"), Ids{257});      // up to three digits are
}

TEST(TokenizerTables, BosGoesFirstWhereTheTablesSaySo) {
  const TempDir dir;
  Owned o;
  make_bpe(o, "llama-bpe");
  o.tables.add_bos = true;
  const auto t = saved(o.tables, dir);
  EXPECT_TRUE(t->adds_bos());
  EXPECT_EQ(t->encode("a", true), (Ids{259, 'a'}));
}

void make_spm(Owned& o) {
  o.tables.source = "m.gguf";
  o.tables.model = "llama";
  o.token("<unk>", 2);
  o.token("<s>", 3);
  o.token("</s>", 3);
  char name[8];
  for (int b = 0; b < 256; ++b) {
    std::snprintf(name, sizeof name, "<0x%02X>", b);
    o.token(name, 6);
  }
  o.token("\xE2\x96\x81", 1, -3);
  o.token("a", 1, -4);
  o.token("b", 1, -5);
  o.token("ab", 1, -1);
  o.token(
      "\xE2\x96\x81"
      "ab",
      1, -2);
  o.tables.bos = 1;
  o.tables.eos = 2;
  o.tables.add_bos = true;
}

TEST(TokenizerTables, SentencePiece) {
  const TempDir dir;
  Owned o;
  make_spm(o);
  const auto t = saved(o.tables, dir);
  EXPECT_EQ(t->vocab_size(), 264);
  EXPECT_EQ(t->encode("ab", true), (Ids{1, 263}));
  EXPECT_EQ(t->encode("abab\n"), (Ids{263, 262, 3 + '\n'}));
  EXPECT_EQ(t->decode(Ids{263, 262}), "abab");
  EXPECT_EQ(t->eos(), 2);
  const TempDir other;
  o.tables.add_space_prefix = false;
  o.tables.add_bos = false;
  const auto bare = saved(o.tables, other);
  EXPECT_EQ(bare->encode("ab"), Ids{262});
  EXPECT_FALSE(bare->adds_bos());
}

TEST(TokenizerTables, WhatIsWrongIsNamed) {
  const TempDir dir;
  const auto refusal = [&](auto make, auto change, ExitCode code = ExitCode::bad_data) {
    Owned o;
    make(o);
    change(o);
    const std::string text = error_of([&] { save_tokenizer_tables(o.tables, dir.path()); }, code);
    EXPECT_HAS(text, "m.gguf");
    return text;
  };
  const auto bpe = [](Owned& o) { make_bpe(o, "smollm"); };
  EXPECT_HAS(refusal(
                 bpe, [](Owned& o) { o.tables.pre = "qwen2"; }, ExitCode::unsupported),
             "the pre-tokenizer 'qwen2' (tokenizer.ggml.pre) is not supported; known: gpt-2, smollm");
  EXPECT_HAS(refusal(
                 bpe, [](Owned& o) { o.tables.model = "bert"; }, ExitCode::unsupported),
             "the tokenizer 'bert'");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.tokens.clear(), o.tables.types.clear(); }), "no tokens");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.types.pop_back(); }), "261 token types for 262 tokens");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.types[7] = 9; }), "token 7 has the unknown type 9");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.tokens[9] = o.tables.tokens[8]; }), "second time as 9");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.tokens[9] = "\xff"; }), "token 9 is not valid UTF-8");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.merges[1] = "\xff a"; }), "merge 1 is not valid UTF-8");
  EXPECT_HAS(refusal(bpe, [](Owned& o) { o.tables.bos = 262; }),
             "the bos token 262 is outside the 262 tokens");
  EXPECT_HAS(refusal(make_spm, [](Owned& o) { o.tables.scores.clear(); }), "found 0 and 264");
  EXPECT_HAS(refusal(make_spm, [](Owned& o) { o.tables.scores[5] = NAN; }),
             "token 5 needs a text and a score");
}

}  // namespace
}  // namespace octavo
