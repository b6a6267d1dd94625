// SPDX-License-Identifier: Apache-2.0
// From log-likelihoods of choices to accuracies and perplexities.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "octavo/data/tokenizer.h"
#include "octavo/infer/score.h"
#include "octavo/infer/tasks.h"

namespace octavo {

/// What a model made of one item. `choice` is the first of the largest.
struct ItemScore {
  std::vector<double> log_likelihood;  ///< of each choice, natural units
  bool greedy = false;                 ///< last_word: greedy decoding writes it
  int64_t choice = 0, choice_norm = 0;
  bool correct = false, correct_norm = false;
};

/// One figure of a task. Items carry a value each; the figure is their mean, or exp(-mean) where
/// `perplexity`.
struct Metric {
  std::string name;  ///< "acc", "acc_norm", "perplexity"
  bool perplexity = false;
  std::vector<double> values;    ///< one an item
  std::vector<int64_t> answers;  ///< what the item was answered with, where that is judged
};

struct Figure {
  double value = 0;
  double stderr_ = 0;  ///< standard error; of a perplexity by the delta method
};

/// Items that belong together, in the order of the task; one range without groups.
struct ItemRange {
  std::string group;
  size_t first = 0, count = 0;
};
std::vector<ItemRange> item_ranges(const Task& task);

/// The judgement of one item from the log-likelihoods (and greediness) of its choices.
ItemScore judge(const Task& task, const TaskItem& item, const std::vector<Score>& choices);

/// What changed from one accuracy to the same accuracy of another model or recipe.
struct Flips {
  int64_t gained = 0;   ///< wrong with a, right with b
  int64_t lost = 0;     ///< right with a, wrong with b
  int64_t changed = 0;  ///< another answer, whether right or wrong
};
Flips flips(const Metric& a, const Metric& b);

/// The metrics of the task's measure, acc first.
std::vector<Metric> metrics(const Task& task, const std::vector<ItemScore>& scores);

/// Mean (or mean of group means) and standard error, by the sample standard deviation.
Figure figure(const Task& task, const Metric& metric);
/// Of the items of one range.
Figure figure(const Metric& metric, const ItemRange& range);

/// All requests of a task as tokens, in the order of items and their choices.
struct TokenizedTask {
  std::vector<SplitTokens> requests;
  int64_t longest = 0;  ///< tokens the longest of them reads
};
TokenizedTask tokenize_task(const Task& task, const Tokenizer& tokenizer, int64_t context);

/// Runs a tokenized task through a model opened for limits.seq >= longest.
std::vector<ItemScore> score_task(Transformer& model, const Task& task, const TokenizedTask& tokenized,
                                  const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace octavo
