// SPDX-License-Identifier: Apache-2.0
// Zero-shot and few-shot tasks: items out of their published files, with the prompts of
// lm-evaluation-harness. docs/evaluation.md states each file layout and template.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// One question. What is scored is " " + choice given the context, for every choice.
struct TaskItem {
  std::string group;  ///< MMLU subject, BLiMP paradigm, else ""
  std::string context;
  std::vector<std::string> choices;
  int64_t gold = 0;   ///< index of the right choice
  std::string place;  ///< "file:line" it was read from, for messages
};

/// How items become figures.
enum class TaskMeasure {
  choice,             ///< acc: the most likely choice is the right one
  choice_normalized,  ///< acc, and acc_norm: of the log-likelihoods divided by the characters of the choice
  last_word,          ///< one choice: perplexity of it, and acc: greedy decoding writes it
};

/// Mean over all items, or the mean over groups of their means.
enum class TaskMean { items, groups };

struct Task {
  std::string name;
  TaskMeasure measure = TaskMeasure::choice;
  TaskMean mean = TaskMean::items;
  std::vector<TaskItem> items;  ///< of one group after the other
  bool as_trained = false;      ///< tokens are those of fine-tuning (split_as_trained), not the harness'
};

struct TaskOptions {
  int64_t limit = 0;  ///< items of each group, the first ones; 0: all
  int64_t shots = 5;  ///< MMLU: solved questions of the dev split before each question, 0 to 5
};

/// hellaswag, arc_easy, arc_challenge, piqa, lambada_openai, blimp, mmlu, sst2.
const std::vector<std::string>& task_names();

/// Reads the task's files below `folder`, in the folder of its name or its name with "eval-" before it.
/// Throws usage for an unknown name, bad_data naming file and line for what is missing or malformed.
Task load_task(const std::string& name, const std::string& folder, const TaskOptions& options = {});

// The parsers behind it, each for one kind of file. `source` names the file in messages.

/// The published JSON Lines (activity_label, ctx_a, ctx_b, endings, label), or when `six_lines` llama.cpp's
/// layout: context, index of the right ending, four endings. There the two parts of the context are already
/// joined; what follows the last end of a sentence is taken for the second one.
std::vector<TaskItem> parse_hellaswag(std::string_view text, const std::string& source, bool six_lines);
/// {"question": {"stem", "choices": [{"label", "text"}]}, "answerKey"} a line.
std::vector<TaskItem> parse_arc(std::string_view text, const std::string& source);
/// {"goal", "sol1", "sol2"} a line, and a file of labels 0 and 1 aligned with it.
std::vector<TaskItem> parse_piqa(std::string_view text, const std::string& source, std::string_view labels,
                                 const std::string& labels_source);
/// {"text"} a line; what follows the last space is the word to predict.
std::vector<TaskItem> parse_lambada(std::string_view text, const std::string& source);
/// {"sentence_good", "sentence_bad"} a line.
std::vector<TaskItem> parse_blimp(std::string_view text, const std::string& source,
                                  const std::string& paradigm);
/// CSV with the header question,choice0,choice1,choice2,choice3,answer; or without a header and the answer as
/// a letter, as first published. `dev` (or "") gives the solved questions.
std::vector<TaskItem> parse_mmlu(std::string_view text, const std::string& source, std::string_view dev,
                                 const std::string& dev_source, const std::string& subject, int64_t shots);

/// Tab-separated sentence and label: the prompt and the verbalizers `octavo prepare --classification` trains
/// on, not the harness' own question.
std::vector<TaskItem> parse_sst2(std::string_view text, const std::string& source);

}  // namespace octavo
