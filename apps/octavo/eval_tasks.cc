// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "eval.h"
#include "eval_record.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/infer/model.h"
#include "octavo/io/hf_model.h"

namespace octavo {

std::string figure_text(double value) {
  return std::abs(value) < 1000 ? fmt::format("{:.4f}", value) : fmt::format("{:.6g}", value);
}

std::vector<Task> load_tasks(const EvalOptions& o) {
  if (!o.tasks.empty() && o.task_data.empty())
    fail_usage("--tasks needs --task-data, the folder that holds the tasks' files");
  std::vector<Task> tasks;
  for (const std::string& name : o.tasks) {
    if (std::any_of(tasks.begin(), tasks.end(), [&](const Task& t) { return t.name == name; }))
      fail_usage(fmt::format("task '{}' is named twice", name));
    tasks.push_back(load_task(name, o.task_data, {o.limit, o.shots}));
  }
  return tasks;
}

TaskRun run_tasks(const EvalOptions& o, const std::string& model, const std::string& recipe,
                  const std::vector<Task>& tasks, ThreadPool& pool) {
  const std::string directory = model_directory(model);
  const int64_t context = read_hf_config(directory).context;
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(directory);
  std::vector<TokenizedTask> tokenized;
  int64_t longest = 1;
  for (const Task& task : tasks) {
    tokenized.push_back(tokenize_task(task, *tokenizer, context));
    longest = std::max(longest, tokenized.back().longest);
  }
  EvalRecorder recorder(o.record, recipe);
  const LoadedModel loaded =
      load_model(model, recipe, {o.sequences_a_pass(), longest}, true, pool, recorder.weights());
  recorder.begin(*loaded.model);
  TaskRun run{model, recipe, {}, 0};
  Stopwatch watch;
  for (size_t t = 0; t < tasks.size(); ++t) {
    ProgressLine progress(fmt::format("{} in {}", tasks[t].name, recipe), "choices");
    run.scores.push_back(
        score_task(*loaded.model, tasks[t], tokenized[t], recorder.counting(watched(progress))));
    progress.finish();
  }
  run.seconds = watch.seconds();
  recorder.finish();
  return run;
}

namespace {

/// One JSON object a line and item: everything needed to check a figure by hand.
void write_items(const std::string& path, const std::vector<Task>& tasks, const TaskRun& run) {
  FileWriter file(path);
  for (size_t t = 0; t < tasks.size(); ++t)
    for (size_t i = 0; i < tasks[t].items.size(); ++i) {
      const TaskItem& item = tasks[t].items[i];
      const ItemScore& score = run.scores[t][i];
      EvalJson j;
      j["task"] = tasks[t].name;
      if (!item.group.empty()) j["group"] = item.group;
      j["place"] = item.place;
      j["context"] = item.context;
      j["choices"] = item.choices;
      j["log_likelihood"] = score.log_likelihood;
      if (tasks[t].measure == TaskMeasure::last_word) {
        j["greedy"] = score.greedy;
      } else {
        j["gold"] = item.gold;
        j["choice"] = score.choice;
        if (tasks[t].measure == TaskMeasure::choice_normalized) j["choice_norm"] = score.choice_norm;
      }
      file.write(j.dump() + "\n");
    }
  file.close();
}

void put(EvalJson& j, const std::string& name, const Figure& f) {
  j[name] = f.value;
  j[name + "_stderr"] = f.stderr_;
}

}  // namespace

void evaluate_tasks(const EvalOptions& o, ThreadPool& pool, EvalJson& j) {
  const std::vector<Task> tasks = load_tasks(o);
  const TaskRun run = run_tasks(o, o.model, o.recipe, tasks, pool);
  if (!o.log_items.empty()) write_items(o.log_items, tasks, run);
  j["batch"] = o.sequences_a_pass();
  if (o.limit > 0) j["limit"] = o.limit;
  if (!o.json) fmt::print("{:<46}{:<11}{:>10}{:>10}{:>7}\n", "task", "metric", "value", "stderr", "items");
  const auto line = [&](const std::string& task, const std::string& metric, const Figure& f, size_t items) {
    if (!o.json)
      fmt::print("{:<46}{:<11}{:>10}{:>10}{:>7}\n", task, metric, figure_text(f.value),
                 figure_text(f.stderr_), items);
  };
  for (size_t t = 0; t < tasks.size(); ++t) {
    const Task& task = tasks[t];
    EvalJson& own = j["tasks"][task.name];
    own["items"] = task.items.size();
    if (task.name == "mmlu") own["shots"] = o.shots;
    const std::vector<Metric> all = metrics(task, run.scores[t]);
    for (const Metric& metric : all) {
      put(own, metric.name, figure(task, metric));
      line(&metric == &all.front() ? task.name : "", metric.name, figure(task, metric), task.items.size());
    }
    const std::vector<ItemRange> ranges = item_ranges(task);
    if (ranges.front().group.empty()) continue;
    for (const ItemRange& range : ranges) {
      EvalJson& group = own["groups"][range.group];
      group["items"] = range.count;
      for (const Metric& metric : all) {
        put(group, metric.name, figure(metric, range));
        line("  " + range.group, metric.name, figure(metric, range), range.count);
      }
    }
  }
  j["seconds"] = run.seconds;
}

}  // namespace octavo
