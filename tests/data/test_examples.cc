// SPDX-License-Identifier: Apache-2.0
// From files of conversations and labelled texts to tokens with marks, checked token by token.
#include <algorithm>
#include <set>

#include "data_testing.h"
#include "octavo/base/file.h"
#include "octavo/data/bpe_train.h"
#include "octavo/data/conversations.h"
#include "octavo/data/loader.h"
#include "octavo/data/prepare_examples.h"
#include "shared_data.h"

namespace octavo {
namespace {

// Every byte is a token, and id 0 the end of text.
std::unique_ptr<Tokenizer> byte_tokenizer(const TempDir& dir, const std::string& name = "bytes") {
  BpeTrainer trainer;
  trainer.add("x");
  BpeTrainOptions options;
  options.vocab_size = 257;
  std::filesystem::create_directories(dir / name);
  save_tokenizer_json(trainer.train(options), dir / name);
  return load_tokenizer(dir / name);
}

/// Text and a line of marks below it: B begins, ^ counts, | both; an end of text is shown as $.
struct Shown {
  std::string text, marks;
  bool operator==(const Shown&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Shown& shown) {
  return out << shown.text << "\n" << shown.marks;
}
Shown show(const Tokenizer& tokenizer, const Example& example) {
  std::vector<int32_t> ids;
  std::vector<uint8_t> marks;
  encode_example(tokenizer, example, ids, marks);
  EXPECT_EQ(ids.size(), marks.size());
  Shown shown;
  for (size_t i = 0; i < ids.size(); ++i) {
    std::string text = ids[i] == tokenizer.eos() ? "$" : tokenizer.token_bytes(ids[i]);
    std::replace(text.begin(), text.end(), '\n', '/');
    shown.text += text;
    shown.marks += std::string(text.size(), " ^B|"[marks[i]]);
  }
  return shown;
}

Conversation one(const std::string& json) { return parse_conversations(json, "f").at(0); }

TEST(Templates, PlainTokenByToken) {
  const TempDir dir;
  const auto tokenizer = byte_tokenizer(dir);
  EXPECT_EQ(show(*tokenizer, apply_template("plain", one(R"({"instruction": "ab", "output": "cd"})"))),
            (Shown{"ab/cd$",  //
                   "B  ^^^"}));
  EXPECT_EQ(
      show(*tokenizer, apply_template("plain", one(R"({"instruction": "ab", "input": "x", "output": ""})"))),
      (Shown{"ab/x/$",  //
             "B    ^"}));
  const Conversation chat =
      one(R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "q"},)"
          R"( {"role": "assistant", "content": "a"}, {"role": "user", "content": "r"},)"
          R"( {"role": "assistant", "content": "b"}]})");
  EXPECT_EQ(show(*tokenizer, apply_template("plain", chat)), (Shown{"s/q/a$r/b$",  //
                                                                    "B   ^^  ^^"}));
}

TEST(Templates, AlpacaAndChatml) {
  const TempDir dir;
  const auto tokenizer = byte_tokenizer(dir);
  const Shown alpaca = show(
      *tokenizer, apply_template("alpaca", one(R"({"instruction": "Add.", "input": "1 2", "output": "3"})")));
  EXPECT_EQ(alpaca.text,
            "Below is an instruction that describes a task, paired with an input that provides further "
            "context. Write a response that appropriately completes the request.//### Instruction:/Add.//"
            "### Input:/1 2//### Response:3$");
  EXPECT_EQ(alpaca.marks, "B" + std::string(alpaca.text.size() - 3, ' ') + "^^");
  const Shown bare =
      show(*tokenizer, apply_template("alpaca", one(R"({"prompt": "Add.", "completion": "3"})")));
  EXPECT_EQ(bare.text,
            "Below is an instruction that describes a task. Write a response that appropriately completes "
            "the request.//### Instruction:/Add.//### Response:3$");
  // The tokenizer has no such markers, so they are text; the sign that ends the answer counts.
  EXPECT_EQ(show(*tokenizer, apply_template("chatml", one(R"({"question": "q", "answer": "a"})"))),
            (Shown{"<|im_start|>user/q<|im_end|>/<|im_start|>assistant/a<|im_end|>$",
                   "B                                                  ^^^^^^^^^^^^"}));
  EXPECT_HAS(error_of([] { apply_template("alpca", {}); }, ExitCode::usage), "did you mean 'alpaca'");
}

TEST(Templates, AMarkerIsATokenAndContentNever) {
  const TempDir dir;
  // The same vocabulary with <|im_end|> as its end of text.
  byte_tokenizer(dir, "chat");
  std::string json = read_file(dir / "chat/tokenizer.json");
  for (size_t at = 0; (at = json.find("<|endoftext|>", at)) != std::string::npos;)
    json.replace(at, 13, "<|im_end|>");
  dir.write("chat/tokenizer.json", json);
  dir.write("chat/tokenizer_config.json", R"({"eos_token": "<|im_end|>"})");
  const auto tokenizer = load_tokenizer(dir / "chat");
  ASSERT_EQ(tokenizer->find("<|im_end|>"), tokenizer->eos());
  const Shown shown =
      show(*tokenizer, apply_template("chatml", one(R"({"question": "<|im_end|>", "answer": "a"})")));
  EXPECT_EQ(shown.text, "<|im_start|>user/<|im_end|>$/<|im_start|>assistant/a$");
  EXPECT_EQ(shown.marks, "B                                                  ^^");
}

TEST(Examples, TokensAreThoseMetInUse) {
  const TempDir dir;
  BpeTrainer trainer;
  std::string text;
  for (int i = 0; i < 50; ++i) text += "it was great it was terrible \n\n";
  trainer.add(text);
  BpeTrainOptions options;
  options.vocab_size = 280;
  std::filesystem::create_directories(dir / "t");
  save_tokenizer_json(trainer.train(options), dir / "t");
  const auto tokenizer = load_tokenizer(dir / "t");
  const auto tokens = [&](const std::string& before, const std::string& answer, int64_t& counted) {
    std::vector<int32_t> ids;
    std::vector<uint8_t> marks;
    encode_example(*tokenizer, {{{Piece::Kind::text, before}, {Piece::Kind::text, answer, true}}, "f:1"}, ids,
                   marks);
    counted = std::count(marks.begin(), marks.end(), kCounts);
    return ids;
  };
  int64_t counted = 0;
  EXPECT_EQ(tokens("it was", " great", counted), tokenizer->encode("it was great"));
  EXPECT_EQ(counted, static_cast<int64_t>(tokenizer->encode("it was great").size() -
                                          tokenizer->encode("it was").size()));
  // Joined, the two would be other tokens: the prompt keeps its own, as when somebody types it.
  std::vector<int32_t> apart = tokenizer->encode("it wa");
  ASSERT_FALSE(std::equal(apart.begin(), apart.end(), tokenizer->encode("it was").begin()));
  const std::vector<int32_t> answer = tokenizer->encode("s");
  apart.insert(apart.end(), answer.begin(), answer.end());
  EXPECT_EQ(tokens("it wa", "s", counted), apart);
  EXPECT_EQ(counted, 1);
  EXPECT_HAS(error_of([&] { tokens("x", "", counted); }), "'f:1': the answer has no tokens");
  EXPECT_HAS(error_of([&] { tokens("", "s", counted); }), "f:1");  // nothing precedes its only token
}

TEST(Conversations, ArraysNameTheLineToo) {
  const std::string good = R"([
  {"instruction": "a, [b] \"{c", "output": "d"},
  {
    "question": "e",
    "answer": "f"
  }, {"instruction": "g", "instances": [{"input": "h", "output": "i"}, {"input": "", "output": "j"}]}
]
)";
  const auto all = parse_conversations(good, "a.json");
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].place, "a.json:2");
  EXPECT_EQ(all[0].turns[0].text, "a, [b] \"{c");
  EXPECT_EQ(all[1].place, "a.json:3");
  EXPECT_EQ(all[2].place, "a.json:6");
  EXPECT_EQ(all[2].turns[0].input, "h");
  EXPECT_EQ(all[3].turns[1].text, "j");
  const auto error = [](const std::string& text) {
    return error_of([&] { parse_conversations(text, "a.json"); });
  };
  EXPECT_HAS(error("[\n{\"instruction\": \"a\", \"output\": \"b\"},\n{\"instruction\": \"a\"}\n]"),
             "'a.json:3' lacks the key 'output'");
  EXPECT_HAS(error("[\n\n 7]"), "'a.json:3' must be a JSON object, found number");
  EXPECT_HAS(error("[\n{]"), "line 2");
  EXPECT_HAS(error("[]"), "no examples");
  EXPECT_HAS(error(" \n"), "no examples");
}

TEST(Conversations, BadLines) {
  const auto error = [](const std::string& line) {
    return error_of([&] {
      parse_conversations("{\"prompt\": \"a\", \"completion\": \"b\"}\n\n" + line + "\n", "a.jsonl");
    });
  };
  EXPECT_EQ(error(R"({"question": "a", "answer": "b", "more": 1})"), "");
  EXPECT_HAS(error("{"), "a.jsonl:3");
  EXPECT_HAS(error("[]"), "'a.jsonl:3' must be a JSON object, found array");
  EXPECT_HAS(error("{}"), "'a.jsonl:3' is no example");
  EXPECT_HAS(error(R"({"prompt": "a"})"), "'a.jsonl:3' lacks the key 'completion'");
  EXPECT_HAS(error(R"({"instruction": 1, "output": "b"})"), "a.jsonl:3");
  EXPECT_HAS(error(R"({"instruction": "a", "input": [], "output": "b"})"), "'input' must be of type string");
  const auto chat = [&](const std::string& roles) {
    std::string messages;
    for (const char role : roles)
      messages += std::string(messages.empty() ? "" : ",") + "{\"role\": \"" +
                  (role == 's'   ? "system"
                   : role == 'u' ? "user"
                   : role == 'a' ? "assistant"
                                 : "tool") +
                  "\", \"content\": \"x\"}";
    return error("{\"messages\": [" + messages + "]}");
  };
  EXPECT_EQ(chat("ua"), "");
  EXPECT_EQ(chat("suaua"), "");
  EXPECT_HAS(chat(""), "'a.jsonl:3': the last message must be the assistant's");
  EXPECT_HAS(chat("uau"), "the last message must be the assistant's");
  EXPECT_HAS(chat("a"), "'a.jsonl:3' message 1: after an optional system message");
  EXPECT_HAS(chat("uu"), "message 2");
  EXPECT_HAS(chat("usa"), "message 2");
  EXPECT_HAS(chat("sa"), "message 2");
  EXPECT_HAS(chat("uta"), "role must be system, user or assistant, found 'tool'");
  EXPECT_HAS(error(R"({"messages": [{"role": "user"}]})"), "'a.jsonl:3' message 1 lacks the key 'content'");
}

TEST(Labelled, ColumnsAndBadLines) {
  const auto items = parse_labelled("label\tid\tsentence\r\n1\t7\t good  \r\n\n0\t8\tbad", "a.tsv", 2);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].text, "good");
  EXPECT_EQ(items[0].label, 1);
  EXPECT_EQ(items[1].place, "a.tsv:4");
  const auto error = [](const std::string& text) {
    return error_of([&] { parse_labelled(text, "a.tsv", 2); });
  };
  EXPECT_HAS(error("index\tsentence\n0\tx\n"),
             "'a.tsv:1' has no column 'label'; its header is index, sentence");
  EXPECT_HAS(error("sentence\tlabel\nx\t1\nx\n"), "'a.tsv:3' has 1 tab-separated fields, its header 2");
  EXPECT_HAS(error("sentence\tlabel\nx\t2\n"),
             "'a.tsv:2': column 'label' must be a label from 0 to 1, found '2'");
  EXPECT_HAS(error("sentence\tlabel\nx\t1x\n"), "'a.tsv:2'");
  EXPECT_HAS(error("sentence\tlabel\nx\t\n"), "'a.tsv:2'");
  EXPECT_HAS(error("sentence\tlabel\nx\t-1\n"), "'a.tsv:2'");
  EXPECT_HAS(error("sentence\tlabel\n \t1\n"), "'a.tsv:2': column 'sentence' is empty");
  EXPECT_HAS(error("sentence\tlabel\n"), "no examples");
  EXPECT_HAS(error(""), "no examples");
}

TEST(Labelled, OnlyTheVerbalizerCounts) {
  const TempDir dir;
  const auto tokenizer = byte_tokenizer(dir);
  EXPECT_EQ(show(*tokenizer, verbalize({"fun", 1, "f:2"}, {})), (Shown{"fun It was great$",  //
                                                                       "B         ^^^^^^ "}));
  EXPECT_EQ(show(*tokenizer, verbalize({"fun", 0, "f:2"}, {"[{text}]", {"-", "+"}})), (Shown{"[fun]-$",  //
                                                                                             "B    ^ "}));
  for (const char* prompt : {"It was", "{text} {text}"})
    EXPECT_HAS(error_of([&] { fill_prompt(prompt, "x"); }, ExitCode::usage), "exactly once");
}

TEST(PrepareExamples, WritesADataSetTheLoaderReads) {
  const TempDir dir;
  const auto tokenizer = byte_tokenizer(dir);
  std::string lines;
  for (int i = 0; i < 200; ++i)
    lines += R"({"question": "number )" + std::to_string(i) + R"(", "answer": ")" +
             std::string(static_cast<size_t>(i % 7 + 1), static_cast<char>('a' + i % 26)) + "\"}\n";
  PrepareExamplesOptions options{.inputs = {dir.write("a.jsonl", lines)},
                                 .template_name = "plain",
                                 .tokenizer = dir / "bytes",
                                 .out = dir / "out"};
  options.shard_tokens = 1024;
  int64_t reported = 0;
  options.progress = [&](const char*, int64_t done, int64_t total) {
    EXPECT_EQ(done, ++reported);
    EXPECT_EQ(total, 200);
  };
  const Dataset written = prepare_examples(options), read = read_dataset(dir / "out");
  EXPECT_EQ(read.train.documents, 190);
  EXPECT_EQ(read.val.documents, 10);
  EXPECT_EQ(read.train.counted, written.train.counted);
  EXPECT_GT(read.train.shards.size(), 2u);
  TokenSource source = open_split(read, read.train);
  source.require_vocabulary(257);
  ASSERT_TRUE(source.marked());

  // Each answer is learned once an epoch, whole, with its end.
  std::multiset<std::string> expected, found;
  for (int i = 0; i < 190; ++i)
    expected.insert(std::string(static_cast<size_t>(i % 7 + 1), static_cast<char>('a' + i % 26)));
  const SampleLoader loader(source, 64, 3, true);
  int64_t counted = 0;
  for (uint64_t i = 0; i < loader.samples_per_epoch(); ++i) {
    std::vector<int32_t> x(64), y(64);
    loader.sample(i, x.data(), y.data());
    std::string answer;
    for (const int32_t target : y) {
      if (target == kNotCounted) continue;
      ++counted;
      if (target == tokenizer->eos()) {
        found.insert(answer);
        answer.clear();
      } else {
        answer += tokenizer->token_bytes(target);
      }
    }
    EXPECT_EQ(answer, "");
  }
  EXPECT_EQ(found, expected);
  EXPECT_EQ(counted, read.train.counted);
  EXPECT_EQ(loader.fit().examples, 190);
  EXPECT_EQ(loader.fit().cut, 0);

  const auto usage = [&](auto change) {
    PrepareExamplesOptions changed = options;
    changed.progress = {};
    change(changed);
    return error_of([&] { prepare_examples(changed); }, ExitCode::usage);
  };
  EXPECT_HAS(usage([](auto& o) { o.tokenizer = ""; }), "--tokenizer");
  EXPECT_HAS(usage([](auto& o) { o.val_fraction = 1; }), "fraction");
  EXPECT_HAS(usage([](auto& o) { o.template_name = "x"; }), "template");
  EXPECT_HAS(usage([](auto& o) { o.verbalizing = {"{text}", {"a"}}; }), "two verbalizers");
  EXPECT_HAS(usage([](auto& o) { o.verbalizing = {"{text}", {"a", "a"}}; }), "must differ");
  PrepareExamplesOptions single = options;
  single.inputs = {dir.write("one.jsonl", R"({"question": "a", "answer": "b"})")};
  single.progress = {};
  EXPECT_HAS(error_of([&] { prepare_examples(single); }), "one example");
}

TEST(PrepareExamples, RealFiles) {
  const auto alpaca = shared_data("sft-alpaca-demo/alpaca_en_demo.json"),
             seeds = shared_data("sft-seed-tasks/seed_tasks.jsonl"),
             gsm = shared_data("sft-gsm8k/test.jsonl"), sst2 = shared_data("eval-sst2/test.tsv");
  if (!alpaca || !seeds || !gsm || !sst2) GTEST_SKIP() << "no shared data";
  EXPECT_EQ(parse_conversations(read_file(*alpaca), *alpaca).size(), 999u);
  EXPECT_GE(parse_conversations(read_file(*seeds), *seeds).size(), 175u);
  EXPECT_EQ(parse_conversations(read_file(*gsm), *gsm).size(), 1319u);
  EXPECT_EQ(parse_labelled(read_file(*sst2), *sst2, 2).size(), 872u);
}

}  // namespace
}  // namespace octavo
