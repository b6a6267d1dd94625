// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/task_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "octavo/infer/task_text.h"

namespace octavo {
namespace {

struct Mean {
  double value = 0, stderr_ = 0;
};

Mean mean(const double* values, size_t count) {
  const double n = static_cast<double>(count);
  double sum = 0, squares = 0;
  for (size_t i = 0; i < count; ++i) sum += values[i];
  Mean m{sum / n, 0};
  for (size_t i = 0; i < count; ++i) squares += (values[i] - m.value) * (values[i] - m.value);
  if (count > 1) m.stderr_ = std::sqrt(squares / (n - 1) / n);
  return m;
}

Figure finish(const Metric& metric, const Mean& m) {
  if (!metric.perplexity) return {m.value, m.stderr_};
  const double perplexity = std::exp(-m.value);
  return {perplexity, perplexity * m.stderr_};
}

}  // namespace

std::vector<ItemRange> item_ranges(const Task& task) {
  std::vector<ItemRange> ranges;
  for (size_t i = 0; i < task.items.size(); ++i) {
    if (ranges.empty() || ranges.back().group != task.items[i].group)
      ranges.push_back({task.items[i].group, i, 0});
    ++ranges.back().count;
  }
  return ranges;
}

ItemScore judge(const Task& task, const TaskItem& item, const std::vector<Score>& choices) {
  ItemScore result;
  double best = 0, best_norm = 0;
  for (size_t c = 0; c < choices.size(); ++c) {
    const double plain = choices[c].log_likelihood,
                 norm = plain / static_cast<double>(std::max<int64_t>(1, count_characters(item.choices[c])));
    result.log_likelihood.push_back(plain);
    if (c == 0 || plain > best) {
      best = plain;
      result.choice = static_cast<int64_t>(c);
    }
    if (c == 0 || norm > best_norm) {
      best_norm = norm;
      result.choice_norm = static_cast<int64_t>(c);
    }
  }
  if (task.measure == TaskMeasure::last_word) {
    result.greedy = result.correct = choices[0].greedy;
  } else {
    result.correct = result.choice == item.gold;
    result.correct_norm = result.choice_norm == item.gold;
  }
  return result;
}

Flips flips(const Metric& a, const Metric& b) {
  Flips f;
  for (size_t i = 0; i < a.values.size(); ++i) {
    f.gained += a.values[i] < b.values[i];
    f.lost += a.values[i] > b.values[i];
    f.changed += a.answers[i] != b.answers[i];
  }
  return f;
}

std::vector<Metric> metrics(const Task& task, const std::vector<ItemScore>& scores) {
  const bool word = task.measure == TaskMeasure::last_word;
  std::vector<Metric> all{{"acc", false, {}, {}}};
  for (const ItemScore& s : scores) {
    all[0].values.push_back(s.correct);
    all[0].answers.push_back(word ? int64_t{s.greedy} : s.choice);
  }
  if (task.measure == TaskMeasure::choice_normalized) {
    all.push_back({"acc_norm", false, {}, {}});
    for (const ItemScore& s : scores) {
      all.back().values.push_back(s.correct_norm);
      all.back().answers.push_back(s.choice_norm);
    }
  }
  if (word) {
    all.push_back({"perplexity", true, {}, {}});
    for (const ItemScore& s : scores) all.back().values.push_back(s.log_likelihood[0]);
  }
  return all;
}

Figure figure(const Metric& metric, const ItemRange& range) {
  return finish(metric, mean(metric.values.data() + range.first, range.count));
}

Figure figure(const Task& task, const Metric& metric) {
  if (task.mean == TaskMean::items) return figure(metric, {"", 0, metric.values.size()});
  const std::vector<ItemRange> ranges = item_ranges(task);
  Mean total;
  double variance = 0;
  for (const ItemRange& range : ranges) {
    const Mean part = mean(metric.values.data() + range.first, range.count);
    total.value += part.value / static_cast<double>(ranges.size());
    variance += part.stderr_ * part.stderr_;
  }
  total.stderr_ = std::sqrt(variance) / static_cast<double>(ranges.size());
  return finish(metric, total);
}

TokenizedTask tokenize_task(const Task& task, const Tokenizer& tokenizer, int64_t context) {
  TokenizedTask tokenized;
  const auto split = task.as_trained ? split_as_trained : split_tokens;
  for (const TaskItem& item : task.items)
    for (const std::string& choice : item.choices) {
      tokenized.requests.push_back(split(tokenizer, item.context, " " + choice, context, item.place));
      tokenized.longest =
          std::max(tokenized.longest, static_cast<int64_t>(tokenized.requests.back().tokens.size()) - 1);
    }
  return tokenized;
}

std::vector<ItemScore> score_task(Transformer& model, const Task& task, const TokenizedTask& tokenized,
                                  const std::function<void(int64_t, int64_t)>& progress) {
  std::vector<ScoreRequest> requests;
  for (const SplitTokens& split : tokenized.requests) requests.push_back({split.tokens, split.scored});
  const std::vector<Score> scores = score(model, requests, progress);
  std::vector<ItemScore> results;
  auto at = scores.begin();
  for (const TaskItem& item : task.items) {
    const auto end = at + static_cast<std::ptrdiff_t>(item.choices.size());
    results.push_back(judge(task, item, {at, end}));
    at = end;
  }
  return results;
}

}  // namespace octavo
