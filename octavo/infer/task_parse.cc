// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "octavo/base/error.h"
#include "octavo/base/json_parse.h"
#include "octavo/data/classification.h"
#include "octavo/infer/task_text.h"
#include "octavo/infer/tasks.h"

namespace octavo {
namespace {

using nlohmann::json;

/// visit(line, number) for every line, without its line end.
void each_line(std::string_view text, const std::function<void(std::string_view, int64_t)>& visit) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    visit(line, number);
  }
}

std::string place_of(const std::string& source, int64_t line) { return fmt::format("{}:{}", source, line); }

/// visit(object, place) for every line of JSON Lines; empty lines are passed over.
void each_object(std::string_view text, const std::string& source,
                 const std::function<void(const json&, const std::string&)>& visit) {
  each_line(text, [&](std::string_view line, int64_t number) {
    if (strip(line).empty()) return;
    const std::string place = place_of(source, number);
    const json object = parse_json(line, place);
    if (!object.is_object())
      fail_data(fmt::format("{}: expected a JSON object, found {}", place, object.type_name()));
    visit(object, place);
  });
}

const json& member(const json& object, const char* key, const std::string& place) {
  const auto found = object.find(key);
  if (found == object.end()) fail_data(fmt::format("{}: key '{}' is missing", place, key));
  return *found;
}

std::string text_member(const json& object, const char* key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_string())
    fail_data(fmt::format("{}: key '{}' must be a string, found {}", place, key, value.type_name()));
  return value.get<std::string>();
}

const json& list_member(const json& object, const char* key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_array() || value.empty())
    fail_data(fmt::format("{}: key '{}' must be a list that is not empty", place, key));
  return value;
}

/// A whole number below `choices` written in decimal.
int64_t choice_index(std::string_view text, int64_t choices, const std::string& place) {
  if (text.size() == 1 && text[0] >= '0' && text[0] - '0' < choices) return text[0] - '0';
  fail_data(fmt::format("{}: expected the index of the right choice, 0 to {}, found \"{}\"", place,
                        choices - 1, text.substr(0, 40)));
}

/// " the boy" after the last sentence: HellaSwag's ctx_b begins in lower case in its files and in upper case
/// in the prompt.
std::string join_contexts(std::string_view context) {
  const std::string_view sentence_end = ".?!";
  size_t begin = context.find(": ");  // behind the activity, where there is no whole sentence
  begin = begin == std::string_view::npos ? 0 : begin + 2;
  for (size_t i = begin; i + 1 < context.size(); ++i) {
    if (sentence_end.find(context[i]) == std::string_view::npos) continue;
    const size_t next = context[i + 1] == '"' || context[i + 1] == '\'' ? i + 2 : i + 1;
    if (next < context.size() && context[next] == ' ') begin = next + 1;
  }
  if (context.empty() || sentence_end.find(context.back()) != std::string_view::npos) begin = context.size();
  return std::string(context.substr(0, begin)) + capitalize(context.substr(begin));
}

TaskItem hellaswag_item(const std::string& context, const std::vector<std::string>& endings, int64_t gold,
                        const std::string& place) {
  TaskItem item{"", clean_hellaswag(context), {}, gold, place};
  for (const std::string& ending : endings) item.choices.push_back(clean_hellaswag(ending));
  return item;
}

}  // namespace

std::vector<TaskItem> parse_hellaswag(std::string_view text, const std::string& source, bool six_lines) {
  std::vector<TaskItem> items;
  if (!six_lines) {
    each_object(text, source, [&](const json& object, const std::string& place) {
      std::vector<std::string> endings;
      for (const json& ending : list_member(object, "endings", place)) {
        if (!ending.is_string()) fail_data(fmt::format("{}: every ending must be a string", place));
        endings.push_back(ending.get<std::string>());
      }
      const json& label = member(object, "label", place);
      const std::string written = label.is_string() ? label.get<std::string>() : label.dump();
      const int64_t gold = choice_index(written, static_cast<int64_t>(endings.size()), place);
      items.push_back(hellaswag_item(text_member(object, "activity_label", place) + ": " +
                                         text_member(object, "ctx_a", place) + " " +
                                         capitalize(text_member(object, "ctx_b", place)),
                                     endings, gold, place));
    });
    return items;
  }
  std::vector<std::string> lines;
  int64_t last = 0;
  each_line(text, [&](std::string_view line, int64_t number) {
    last = number;
    if (lines.empty() && strip(line).empty()) return;  // at the end of the file
    if (strip(line).empty())
      fail_data(fmt::format("{}: an empty line within a task", place_of(source, number)));
    lines.emplace_back(line);
    if (lines.size() < 6) return;
    const std::string place = place_of(source, number - 5);
    const int64_t gold = choice_index(strip(lines[1]), 4, place_of(source, number - 4));
    items.push_back(
        hellaswag_item(join_contexts(strip(lines[0])), {lines.begin() + 2, lines.end()}, gold, place));
    lines.clear();
  });
  if (!lines.empty())
    fail_data(fmt::format("{}: the last task has {} lines of 6", place_of(source, last), lines.size()));
  return items;
}

std::vector<TaskItem> parse_arc(std::string_view text, const std::string& source) {
  std::vector<TaskItem> items;
  each_object(text, source, [&](const json& object, const std::string& place) {
    const json& question = member(object, "question", place);
    if (!question.is_object())
      fail_data(fmt::format("{}: key 'question' must be an object, found {}", place, question.type_name()));
    TaskItem item{"", "Question: " + text_member(question, "stem", place) + "\nAnswer:", {}, -1, place};
    const std::string answer = text_member(object, "answerKey", place);
    for (const json& choice : list_member(question, "choices", place)) {
      if (!choice.is_object()) fail_data(fmt::format("{}: every choice must be an object", place));
      if (text_member(choice, "label", place) == answer)
        item.gold = static_cast<int64_t>(item.choices.size());
      item.choices.push_back(text_member(choice, "text", place));
    }
    // Some copies keep the labels 1 to 4 and turned the answer into a letter.
    const std::string_view letters = "ABCDE";
    if (item.gold < 0 && answer.size() == 1 && letters.find(answer[0]) < item.choices.size() &&
        member(question, "choices", place)[0]["label"] == "1")
      item.gold = static_cast<int64_t>(letters.find(answer[0]));
    if (item.gold < 0) fail_data(fmt::format("{}: no choice has the answerKey \"{}\"", place, answer));
    items.push_back(std::move(item));
  });
  return items;
}

std::vector<TaskItem> parse_piqa(std::string_view text, const std::string& source, std::string_view labels,
                                 const std::string& labels_source) {
  std::vector<TaskItem> items;
  each_object(text, source, [&](const json& object, const std::string& place) {
    items.push_back({"",
                     "Question: " + text_member(object, "goal", place) + "\nAnswer:",
                     {text_member(object, "sol1", place), text_member(object, "sol2", place)},
                     0,
                     place});
  });
  size_t count = 0;
  each_line(labels, [&](std::string_view line, int64_t number) {
    if (strip(line).empty()) return;
    const int64_t gold = choice_index(strip(line), 2, place_of(labels_source, number));
    if (count < items.size()) items[count].gold = gold;
    ++count;
  });
  if (count != items.size())
    fail_data(fmt::format("{} has {} labels for the {} questions of {}", labels_source, count, items.size(),
                          source));
  return items;
}

std::vector<TaskItem> parse_lambada(std::string_view text, const std::string& source) {
  std::vector<TaskItem> items;
  each_object(text, source, [&](const json& object, const std::string& place) {
    const std::string passage = text_member(object, "text", place);
    const size_t space = passage.rfind(' ');
    if (space == std::string::npos || space == 0 || space + 1 == passage.size())
      fail_data(fmt::format("{}: the text has no word to predict after its last space", place));
    items.push_back({"", passage.substr(0, space), {passage.substr(space + 1)}, 0, place});
  });
  return items;
}

std::vector<TaskItem> parse_blimp(std::string_view text, const std::string& source,
                                  const std::string& paradigm) {
  std::vector<TaskItem> items;
  each_object(text, source, [&](const json& object, const std::string& place) {
    items.push_back(
        {paradigm,
         "",
         {text_member(object, "sentence_good", place), text_member(object, "sentence_bad", place)},
         0,
         place});
  });
  return items;
}

namespace {

constexpr const char* kLetters[] = {"A", "B", "C", "D"};

struct MmluQuestion {
  std::string text;  ///< up to "Answer:"
  int64_t gold;
  std::string place;
};

std::vector<MmluQuestion> mmlu_questions(std::string_view text, const std::string& source) {
  std::vector<MmluQuestion> questions;
  for (const CsvRecord& record : parse_csv(text, source)) {
    const std::string place = place_of(source, record.line);
    const std::vector<std::string>& f = record.fields;
    if (f.size() != 6)
      fail_data(fmt::format("{}: expected question, 4 choices and answer, found {} fields", place, f.size()));
    if (f[0] == "question" && f[5] == "answer") continue;  // the header
    const size_t letter = f[5].size() == 1 ? std::string_view("ABCD").find(f[5][0]) : std::string_view::npos;
    const int64_t gold =
        letter != std::string_view::npos ? static_cast<int64_t>(letter) : choice_index(f[5], 4, place);
    std::string prompt(strip(f[0]));
    for (size_t c = 0; c < 4; ++c) prompt += fmt::format("\n{}. {}", kLetters[c], f[c + 1]);
    questions.push_back({prompt + "\nAnswer:", gold, place});
  }
  return questions;
}

}  // namespace

std::vector<TaskItem> parse_mmlu(std::string_view text, const std::string& source, std::string_view dev,
                                 const std::string& dev_source, const std::string& subject, int64_t shots) {
  std::string spaced = subject;
  std::replace(spaced.begin(), spaced.end(), '_', ' ');
  std::string prefix =
      fmt::format("The following are multiple choice questions (with answers) about {}.\n\n", spaced);
  const std::vector<MmluQuestion> solved = mmlu_questions(dev, dev_source);
  if (static_cast<int64_t>(solved.size()) < shots)
    fail_data(
        fmt::format("{} has {} questions, fewer than the {} to show", dev_source, solved.size(), shots));
  for (int64_t i = 0; i < shots; ++i) {
    const MmluQuestion& q = solved[static_cast<size_t>(i)];
    prefix += q.text + " " + kLetters[q.gold] + "\n\n";
  }
  std::vector<TaskItem> items;
  for (const MmluQuestion& q : mmlu_questions(text, source))
    items.push_back({subject, prefix + q.text, {"A", "B", "C", "D"}, q.gold, q.place});
  return items;
}

std::vector<TaskItem> parse_sst2(std::string_view text, const std::string& source) {
  const Verbalization how;
  std::vector<std::string> choices;
  for (const std::string& word : how.verbalizers) choices.push_back(word.substr(1));  // the space is a task's
  std::vector<TaskItem> items;
  for (const LabelledText& item : parse_labelled(text, source, static_cast<int64_t>(choices.size())))
    items.push_back({"", fill_prompt(how.prompt, item.text), choices, item.label, item.place});
  return items;
}

}  // namespace octavo
