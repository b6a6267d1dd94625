// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/tasks.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/suggest.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// The folder of a task: its name, with "eval-" before it or "-" for "_".
std::string task_folder(const std::string& name, const std::string& folder) {
  if (!fs::is_directory(folder))
    fail_data(fmt::format("no task data at '{}': there is no such folder", folder));
  std::string dashed = name;
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  const std::string shorter = name == "lambada_openai" ? "lambada" : name;
  for (const std::string& candidate : {name, dashed, shorter})
    for (const std::string& path : {folder + "/eval-" + candidate, folder + "/" + candidate})
      if (fs::is_directory(path)) return path;
  fail_data(fmt::format("task {}: '{}' has no folder eval-{} or {}", name, folder, dashed, name));
}

/// Files of a folder whose names end in `ending`, in alphabetic order.
std::vector<std::string> files(const std::string& folder, const std::string& ending) {
  std::vector<std::string> found;
  if (fs::is_directory(folder))
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_regular_file() && entry.path().filename().string().ends_with(ending))
        found.push_back(entry.path().string());
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<std::string> need_files(const std::string& folder, const std::string& ending) {
  std::vector<std::string> found = files(folder, ending);
  if (found.empty()) fail_data(fmt::format("'{}' has no file *{}", folder, ending));
  return found;
}

/// The first of `names` that is in the folder.
std::string one_of(const std::string& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names)
    if (fs::is_regular_file(folder + "/" + name)) return folder + "/" + name;
  fail_data(fmt::format("'{}' has no file {}", folder, fmt::join(names, " or ")));
}

std::string stem(const std::string& path, const std::string& ending) {
  const std::string name = fs::path(path).filename().string();
  return name.substr(0, name.size() - ending.size());
}

void append(std::vector<TaskItem>& items, std::vector<TaskItem> more, int64_t limit) {
  if (limit > 0 && static_cast<int64_t>(more.size()) > limit) more.resize(static_cast<size_t>(limit));
  std::move(more.begin(), more.end(), std::back_inserter(items));
}

std::vector<TaskItem> read_hellaswag(const std::string& folder) {
  std::vector<TaskItem> items;
  const std::vector<std::string> published = files(folder, ".jsonl");
  for (const std::string& file : published.empty() ? need_files(folder, ".txt") : published)
    append(items, parse_hellaswag(read_file(file), file, published.empty()), 0);
  return items;
}

std::vector<TaskItem> read_arc(const std::string& folder) {
  const std::string file = one_of(folder, {"test.jsonl", "ARC-Easy-Test.jsonl", "ARC-Challenge-Test.jsonl"});
  return parse_arc(read_file(file), file);
}

std::vector<TaskItem> read_piqa(const std::string& folder) {
  const std::string questions = one_of(folder, {"valid.jsonl"}),
                    labels = one_of(folder, {"valid-labels.lst"});
  return parse_piqa(read_file(questions), questions, read_file(labels), labels);
}

std::vector<TaskItem> read_lambada(const std::string& folder) {
  std::vector<TaskItem> items;
  for (const std::string& file : need_files(folder, ".jsonl"))
    append(items, parse_lambada(read_file(file), file), 0);
  return items;
}

std::vector<TaskItem> read_blimp(const std::string& folder, const TaskOptions& options) {
  std::vector<TaskItem> items;
  for (const std::string& file : need_files(folder, ".jsonl"))
    append(items, parse_blimp(read_file(file), file, stem(file, ".jsonl")), options.limit);
  return items;
}

std::vector<TaskItem> read_mmlu(const std::string& folder, const TaskOptions& options) {
  if (options.shots < 0 || options.shots > 5)
    fail_usage(fmt::format("--shots is {}, expected 0 to 5: the dev split of MMLU has 5", options.shots));
  std::vector<TaskItem> items;
  for (const std::string& file : need_files(folder + "/test", "_test.csv")) {
    const std::string subject = stem(file, "_test.csv"), dev = folder + "/dev/" + subject + "_dev.csv";
    append(items,
           parse_mmlu(read_file(file), file, options.shots > 0 ? read_file(dev) : "", dev, subject,
                      options.shots),
           options.limit);
  }
  return items;
}

/// The validation set of GLUE: its dev.tsv. Copies that split the training set again keep it as test.tsv; the
/// test.tsv of GLUE itself has no labels.
std::vector<TaskItem> read_sst2(const std::string& folder) {
  const std::string test = folder + "/test.tsv";
  if (fs::is_regular_file(test))
    if (const std::string text = read_file(test);
        text.substr(0, text.find('\n')).find("label") != std::string::npos)
      return parse_sst2(text, test);
  const std::string dev = one_of(folder, {"dev.tsv"});
  return parse_sst2(read_file(dev), dev);
}

}  // namespace

const std::vector<std::string>& task_names() {
  static const std::vector<std::string> names{"hellaswag",      "arc_easy", "arc_challenge", "piqa",
                                              "lambada_openai", "blimp",    "mmlu",          "sst2"};
  return names;
}

Task load_task(const std::string& name, const std::string& folder, const TaskOptions& options) {
  const std::vector<std::string>& known = task_names();
  if (std::find(known.begin(), known.end(), name) == known.end())
    fail_usage(fmt::format("unknown task '{}'{}", name, did_you_mean(name, known)));
  const std::string at = task_folder(name, folder);
  Task task;
  task.name = name;
  if (name == "hellaswag" || name == "piqa" || name.starts_with("arc_")) {
    task.measure = TaskMeasure::choice_normalized;
    task.items = name == "hellaswag" ? read_hellaswag(at) : name == "piqa" ? read_piqa(at) : read_arc(at);
  } else if (name == "lambada_openai") {
    task.measure = TaskMeasure::last_word;
    task.items = read_lambada(at);
  } else if (name == "blimp") {
    task.mean = TaskMean::groups;
    task.items = read_blimp(at, options);
  } else if (name == "sst2") {
    task.as_trained = true;
    task.items = read_sst2(at);
  } else {
    task.items = read_mmlu(at, options);
  }
  if (task.items.empty()) fail_data(fmt::format("task {}: no items in '{}'", name, at));
  const bool grouped = !task.items.front().group.empty();
  if (const size_t limit = static_cast<size_t>(options.limit);
      limit > 0 && !grouped && limit < task.items.size())
    task.items.resize(limit);
  return task;
}

}  // namespace octavo
