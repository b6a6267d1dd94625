// SPDX-License-Identifier: Apache-2.0
// The files of the tasks, good and bad, and the prompts made of them.
#include "octavo/infer/tasks.h"

#include <fstream>

#include "cli/run_octavo.h"
#include "infer/infer_testing.h"
#include "octavo/infer/task_text.h"
#include "shared_data.h"

namespace octavo {
namespace {

void expect_error(const std::function<void()>& action, const std::string& part) {
  const std::string message = error_of(action);
  EXPECT_NE(message.find(part), std::string::npos) << "wants: " << part << "\nfound: " << message;
}
using Strings = std::vector<std::string>;

TEST(TaskText, WhatPythonDoes) {
  EXPECT_EQ(strip(" \t a b\xC2\xA0\xE2\x80\x83\n"), "a b");
  EXPECT_EQ(strip_end("  a \x1f"), "  a");
  EXPECT_EQ(strip_end("   "), "");
  EXPECT_EQ(capitalize("the MAN in \xC3\x9C"), "The man in \xC3\x9C");
  EXPECT_EQ(capitalize("\" Ab"), "\" ab");
  EXPECT_EQ(count_characters("a\xC3\xA9\xE6\xBC\xA2\xF0\x9F\x99\x82"), 4);
  EXPECT_EQ(count_characters("a\xFF\xC3"), 3);
  EXPECT_EQ(count_words(" one  two\nthree\xE3\x80\x80"
                        "four "),
            4);
  EXPECT_EQ(count_words(" \n"), 0);
}
TEST(TaskText, HellaswagMarkup) {
  EXPECT_EQ(clean_hellaswag(" [header] How to bake [title] Mix it. [step] Stir  well. "),
            " How to bake. Mix it. Stir well.");
  EXPECT_EQ(clean_hellaswag("a   b"), "a  b");  // one pass only
  EXPECT_EQ(clean_hellaswag("a [b] c [d"), "a c [d");
  EXPECT_EQ(clean_hellaswag("a [b\nc] d [e]f"), "a [b\nc] d f");
}
TEST(TaskText, Csv) {
  const auto records = parse_csv("a,b\r\n\n\"x \"\"y\"\"\",\"1,\n2\"\nlast,\n", "f.csv");
  ASSERT_EQ(records.size(), 3u);
  EXPECT_EQ(records[0].fields, (Strings{"a", "b"}));
  EXPECT_EQ(records[1].fields, (Strings{"x \"y\"", "1,\n2"}));
  EXPECT_EQ(records[1].line, 3);
  EXPECT_EQ(records[2].fields, (Strings{"last", ""}));
  EXPECT_EQ(records[2].line, 5);
  expect_error([] { parse_csv("a\nb,\"c\nd", "f.csv"); }, "f.csv:2: a quote is never closed");
  expect_error([] { parse_csv("a\nb\"c", "f.csv"); }, "f.csv:2");
  expect_error([] { parse_csv("\"a\"b", "f.csv"); }, "f.csv:1");
}

TEST(Hellaswag, PublishedForm) {
  const std::string line =
      R"({"activity_label": "Baking", "ctx_a": "A man stands. [title] He waits.", "ctx_b": "then The man", "endings": ["bakes.", "[step] runs.", "c", "d"], "label": 1})";
  const auto items = parse_hellaswag(line + "\n\n" + line + "\n", "h.jsonl", false);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "Baking: A man stands.. He waits. Then the man");
  EXPECT_EQ(items[0].choices, (Strings{"bakes.", " runs.", "c", "d"}));
  EXPECT_EQ(items[0].gold, 1);
  EXPECT_EQ(items[1].place, "h.jsonl:3");
  expect_error([&] { parse_hellaswag(line + "\n{\"ctx_a\": 1}\n", "h.jsonl", false); }, "h.jsonl:2");
  expect_error([&] { parse_hellaswag(line + "\n[]\n", "h.jsonl", false); },
               "h.jsonl:2: expected a JSON object");
  expect_error([&] { parse_hellaswag(line + "\n{\n", "h.jsonl", false); }, "h.jsonl:2");
  std::string wrong = line;
  wrong.replace(wrong.find("\"label\": 1"), 10, "\"label\": 4");
  expect_error([&] { parse_hellaswag(wrong, "h.jsonl", false); },
               "h.jsonl:1: expected the index of the right choice, 0 to 3");
}
TEST(Hellaswag, SixLines) {
  const std::string six = "Baking: A man stands. He says \"wait!\" then the man\n2\na\nb\nc\nd\n";
  auto items = parse_hellaswag(six + "Ice: a woman\n0\n\xC3\xA9\nb\nc\nd", "h.txt", true);
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "Baking: A man stands. He says \"wait!\" Then the man");
  EXPECT_EQ(items[0].gold, 2);
  EXPECT_EQ(items[1].context, "Ice: A woman");
  EXPECT_EQ(items[1].place, "h.txt:7");
  items = parse_hellaswag("Ice: it ends here. and here.\n0\na\nb\nc\nd\n\n", "h.txt", true);
  EXPECT_EQ(items[0].context, "Ice: it ends here. and here.");
  expect_error([&] { parse_hellaswag(six + "x: y\n4\na\nb\nc\nd\n", "h.txt", true); },
               "h.txt:8: expected the index");
  expect_error([&] { parse_hellaswag(six + "x: y\n1\na\n", "h.txt", true); },
               "h.txt:9: the last task has 3 lines of 6");
  expect_error([&] { parse_hellaswag("x: y\n1\n\nb\nc\nd\n", "h.txt", true); }, "h.txt:3: an empty line");
}

TEST(Arc, LabelsOfBothKinds) {
  const std::string letters =
      R"({"question": {"stem": "Why?", "choices": [{"text": "x", "label": "A"}, {"text": "y", "label": "B"}]}, "answerKey": "B"})";
  std::string numbers = letters;
  numbers.replace(numbers.find("\"A\""), 3, "\"1\"");
  numbers.replace(numbers.find("\"B\""), 3, "\"2\"");
  const auto items = parse_arc(letters + "\n" + numbers, "a.jsonl");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "Question: Why?\nAnswer:");
  EXPECT_EQ(items[0].choices, (Strings{"x", "y"}));
  EXPECT_EQ(items[0].gold, 1);
  EXPECT_EQ(items[1].gold, 1);
  std::string wrong = letters;
  wrong.replace(wrong.rfind("\"B\""), 3, "\"E\"");
  expect_error([&] { parse_arc(letters + "\n" + wrong, "a.jsonl"); },
               "a.jsonl:2: no choice has the answerKey \"E\"");
  expect_error([&] { parse_arc(R"({"question": "Why?", "answerKey": "A"})", "a.jsonl"); },
               "a.jsonl:1: key 'question'");
  expect_error(
      [&] { parse_arc(R"({"question": {"stem": "W", "choices": []}, "answerKey": "A"})", "a.jsonl"); },
      "'choices'");
  expect_error(
      [&] { parse_arc(R"({"question": {"stem": "W", "choices": ["x"]}, "answerKey": "A"})", "a.jsonl"); },
      "a.jsonl:1");
}

TEST(Piqa, LabelsAreAligned) {
  const std::string line = R"({"goal": "sit", "sol1": "on a chair ", "sol2": "under it"})";
  const auto items = parse_piqa(line + "\n" + line + "\n", "p.jsonl", "0\n1\n", "p.lst");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "Question: sit\nAnswer:");
  EXPECT_EQ(items[0].choices, (Strings{"on a chair ", "under it"}));
  EXPECT_EQ(items[0].gold, 0);
  EXPECT_EQ(items[1].gold, 1);
  expect_error([&] { parse_piqa(line, "p.jsonl", "2\n", "p.lst"); }, "p.lst:1");
  expect_error([&] { parse_piqa(line, "p.jsonl", "0\n1\n", "p.lst"); },
               "p.lst has 2 labels for the 1 questions of p.jsonl");
  expect_error([&] { parse_piqa(R"({"goal": "x", "sol1": "y"})", "p.jsonl", "0\n", "p.lst"); },
               "p.jsonl:1: key 'sol2' is missing");
}

TEST(Lambada, TheWordAfterTheLastSpace) {
  const auto items = parse_lambada(R"({"text": "\"No,\" said  the old man"})", "l.jsonl");
  EXPECT_EQ(items[0].context, "\"No,\" said  the old");
  EXPECT_EQ(items[0].choices, (Strings{"man"}));
  for (const char* bad :
       {R"({"text": "word"})", R"({"text": "ends "})", R"({"text": ""})", R"({"txt": "a b"})"})
    expect_error([&] { parse_lambada(std::string("\n") + bad, "l.jsonl"); }, "l.jsonl:2");
}

TEST(Blimp, GoodBeforeBad) {
  const auto items =
      parse_blimp(R"({"sentence_good": "He is.", "sentence_bad": "He are.", "x": 1})", "b.jsonl", "agree");
  EXPECT_EQ(items[0].context, "");
  EXPECT_EQ(items[0].group, "agree");
  EXPECT_EQ(items[0].choices, (Strings{"He is.", "He are."}));
  expect_error([] { parse_blimp(R"({"sentence_good": 3, "sentence_bad": "x"})", "b.jsonl", "a"); },
               "b.jsonl:1: key 'sentence_good'");
}

TEST(Mmlu, ShotsAndLetters) {
  const std::string header = "question,choice0,choice1,choice2,choice3,answer\n";
  const std::string test = header + "\" Two\nlines? \",a,b,c,d,3\n",
                    dev = header + "One?,w,x,y,z,1\nSecond?,w,x,y,z,0\n";
  const auto zero = parse_mmlu(test, "t.csv", "", "d.csv", "old_things", 0);
  ASSERT_EQ(zero.size(), 1u);
  const std::string start =
      "The following are multiple choice questions (with answers) about old things.\n\n";
  const std::string question = "Two\nlines?\nA. a\nB. b\nC. c\nD. d\nAnswer:";
  EXPECT_EQ(zero[0].context, start + question);
  EXPECT_EQ(zero[0].choices, (Strings{"A", "B", "C", "D"}));
  EXPECT_EQ(zero[0].gold, 3);
  EXPECT_EQ(zero[0].place, "t.csv:2");
  const auto one = parse_mmlu(test, "t.csv", dev, "d.csv", "old_things", 1);
  EXPECT_EQ(one[0].context, start + "One?\nA. w\nB. x\nC. y\nD. z\nAnswer: B\n\n" + question);
  EXPECT_EQ(parse_mmlu("Q,a,b,c,d,C\n", "t.csv", "", "", "s", 0)[0].gold, 2);  // as first published
  expect_error([&] { parse_mmlu(test, "t.csv", dev, "d.csv", "s", 3); },
               "d.csv has 2 questions, fewer than the 3");
  expect_error([&] { parse_mmlu(header + "Q,a,b,c,1\n", "t.csv", "", "", "s", 0); },
               "t.csv:2: expected question");
  expect_error([&] { parse_mmlu(header + "Q,a,b,c,d,4\n", "t.csv", "", "", "s", 0); },
               "t.csv:2: expected the index");
}

TEST(LoadTask, FoldersLimitsAndNames) {
  const TemporaryDirectory root;
  expect_error([&] { load_task("piqa", root / "none", {}); }, "no task data");
  expect_error([&] { load_task("piqa", root.path(), {}); }, "no folder eval-piqa");
  EXPECT_NE(error_of([&] { load_task("hellaswap", root.path(), {}); }, ExitCode::usage)
                .find("did you mean 'hellaswag'"),
            std::string::npos);
  fs::create_directories(root / "eval-blimp");
  expect_error([&] { load_task("blimp", root.path(), {}); }, "no file *.jsonl");
  const std::string pair = R"({"sentence_good": "a", "sentence_bad": "b"})"
                           "\n";
  spill(root / "eval-blimp/z.jsonl", pair + pair + pair);
  spill(root / "eval-blimp/y.jsonl", pair + pair);
  const Task blimp = load_task("blimp", root.path(), {2, 5});
  ASSERT_EQ(blimp.items.size(), 4u);
  EXPECT_EQ(blimp.items[0].group + blimp.items[3].group, "yz");
  EXPECT_EQ(blimp.mean, TaskMean::groups);
  fs::create_directories(root / "arc-easy");
  expect_error([&] { load_task("arc_easy", root.path(), {}); }, "test.jsonl");
  spill(root / "arc-easy/test.jsonl", "\n");
  expect_error([&] { load_task("arc_easy", root.path(), {}); }, "no items");
  fs::create_directories(root / "lambada");
  spill(root / "lambada/test.jsonl", "{\"text\": \"a b\"}\n{\"text\": \"c d\"}\n");
  EXPECT_EQ(load_task("lambada_openai", root.path(), {}).items.size(), 2u);
  EXPECT_EQ(load_task("lambada_openai", root.path(), {1, 5}).items.size(), 1u);
  fs::create_directories(root / "mmlu/test");
  spill(root / "mmlu/test/s_test.csv", "Q,a,b,c,d,0\n");
  expect_error([&] { load_task("mmlu", root.path(), {}); }, "s_dev.csv");
  EXPECT_EQ(load_task("mmlu", root.path(), {0, 0}).items.size(), 1u);
  EXPECT_NE(error_of(
                [&] {
                  load_task("mmlu", root.path(), {0, 6});
                },
                ExitCode::usage)
                .find("--shots"),
            std::string::npos);
}

TEST(LoadTask, SharedData) {
  const auto folder = shared_data("eval-hellaswag");
  if (!folder) GTEST_SKIP() << "no shared data";
  const std::string root = fs::path(*folder).parent_path().string();
  const std::map<std::string, size_t> expected{{"hellaswag", 2000},      {"arc_easy", 2365}, {"piqa", 1838},
                                               {"lambada_openai", 5153}, {"blimp", 12000},   {"mmlu", 1068}};
  for (const auto& [name, count] : expected) EXPECT_EQ(load_task(name, root, {}).items.size(), count) << name;
}

TEST(Sst2, PromptsAndTheLabelledFile) {
  const auto items = parse_sst2("sentence\tlabel\nfun \t1\ndull\t0\n", "s.tsv");
  ASSERT_EQ(items.size(), 2u);
  EXPECT_EQ(items[0].context, "fun It was");
  EXPECT_EQ(items[0].choices, (Strings{"terrible", "great"}));
  EXPECT_EQ(items[0].gold, 1);
  EXPECT_EQ(items[1].place, "s.tsv:3");
  expect_error([] { parse_sst2("sentence\tlabel\nfun\t2\n", "s.tsv"); }, "s.tsv:2");
  const TemporaryDirectory folder;
  std::filesystem::create_directories(folder / "sst2");
  spill(folder / "sst2/dev.tsv", "sentence\tlabel\ndev\t1\n");
  spill(folder / "sst2/test.tsv", "index\tsentence\n0\tunlabelled\n");
  EXPECT_EQ(load_task("sst2", folder.path()).items.at(0).context, "dev It was");
  spill(folder / "sst2/test.tsv", "sentence\tlabel\ntest\t1\n");
  EXPECT_EQ(load_task("sst2", folder.path()).items.at(0).context, "test It was");
  EXPECT_TRUE(load_task("sst2", folder.path()).as_trained);
}

}  // namespace
}  // namespace octavo
