// SPDX-License-Identifier: Apache-2.0
#include "data_testing.h"
#include "octavo/data/corpus.h"

namespace octavo {
namespace {

std::vector<std::string> documents(const std::string& path, const std::string& field = "text") {
  std::vector<std::string> result;
  read_documents(path, field, [&](std::string_view document) { result.emplace_back(document); });
  return result;
}

TEST(Corpus, TextFileIsOneDocument) {
  const TempDir dir;
  EXPECT_EQ(documents(dir.write("a.txt", "one\n\n\ntwo")), (std::vector<std::string>{"one\n\n\ntwo"}));
  EXPECT_EQ(documents(dir.write("b.txt", "\xEF\xBB\xBFx")), (std::vector<std::string>{"x"}));
}

TEST(Corpus, RefusesWhatIsNotText) {
  const TempDir dir;
  const auto error = [&](const std::string& content) {
    const std::string path = dir.write("a.txt", content);
    const std::string message = error_of([&] { documents(path); });
    EXPECT_HAS(message, path);
    return message;
  };
  EXPECT_HAS(error(""), "empty");
  EXPECT_HAS(error(std::string("ab\0cd", 5)), "offset 2");
  EXPECT_HAS(error("\xFF\xFE\xFD\xFC plain"), "UTF-8");
  EXPECT_HAS(error_of([&] { documents(dir / "none.txt"); }), "none.txt");
  const CorpusFile some =
      read_documents(dir.write("b.txt", std::string(100, 'x') + "\xFF"), "text", [](std::string_view) {});
  EXPECT_EQ(some.invalid_bytes, 1);
  EXPECT_EQ(some.text_bytes, 101);
}

TEST(Corpus, JsonLines) {
  const TempDir dir;
  const std::string content =
      "{\"text\": \"one\"}\r\n\r\n   \n{\"text\": \"\\u00e9\\ud83e\\udd99\\n\", \"id\": 3}\n{\"text\": "
      "\"\"}\n"
      "{\"text\": \"last\"}";
  EXPECT_EQ(documents(dir.write("a.jsonl", content)),
            (std::vector<std::string>{"one", "\xC3\xA9\xF0\x9F\xA6\x99\n", "last"}));
  EXPECT_EQ(documents(dir.write("b.jsonl", "{\"body\": \"x\"}\n"), "body"), (std::vector<std::string>{"x"}));
}

TEST(Corpus, JsonLinesErrorsNameTheLine) {
  const TempDir dir;
  const auto error = [&](const std::string& line) {
    const std::string path = dir.write("a.jsonl", "{\"text\": \"fine\"}\n\n" + line + "\n");
    const std::string message = error_of([&] { documents(path); });
    EXPECT_HAS(message, path + ":3");
    return message;
  };
  EXPECT_HAS(error("{\"text\": \"open"), "not valid JSON");
  EXPECT_HAS(error("{\"text\": \"\\ud83e\"}"), "not valid JSON");
  EXPECT_HAS(error("{\"body\": \"x\", \"id\": 1}"), "'body', 'id'");
  EXPECT_HAS(error("{}"), "none");
  EXPECT_HAS(error("{\"text\": 5}"), "must be a string");
  EXPECT_HAS(error("[1]"), "object");
  EXPECT_HAS(error(std::string(100000, '[')), "deeper");
}

TEST(Corpus, ExpandsDirectoriesAndGlobs) {
  const TempDir dir;
  const std::string b = dir.write("b.txt", "b"), a = dir.write("sub/a.jsonl", "{}"),
                    c = dir.write("c.bin", "c");
  EXPECT_EQ(expand_inputs({dir.path()}), (std::vector<std::string>{b, a}));
  EXPECT_EQ(expand_inputs({dir / "*.b?n", b, b}), (std::vector<std::string>{c, b}));
  EXPECT_HAS(error_of([&] { expand_inputs({dir / "x*.txt"}); }), "no file matches");
  EXPECT_HAS(error_of([&] { expand_inputs({dir / "none"}); }), "does not exist");
  std::filesystem::create_directory(dir / "empty");
  EXPECT_HAS(error_of([&] { expand_inputs({dir / "empty"}); }), "holds no");
}

}  // namespace
}  // namespace octavo
