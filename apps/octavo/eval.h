// SPDX-License-Identifier: Apache-2.0
// What the parts of `octavo eval` share.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "octavo/base/thread_pool.h"
#include "octavo/data/tokenizer.h"
#include "octavo/infer/task_score.h"
#include "octavo/infer/text_score.h"
#include "terminal.h"

namespace octavo {

struct EvalOptions {
  std::string model, model_b, recipe, recipe_b;  ///< recipes: of each model, once they are known
  std::vector<std::string> compare;              ///< none, or two recipes
  std::string data, field = "text";
  std::string text;
  std::vector<std::string> tasks;
  std::string task_data, log_items, record;
  int64_t seq_len = 0, stride = 0, batch = 0, batches = 0;
  int64_t limit = 0, shots = 5, resamples = 2000;
  uint64_t seed = 0;
  int threads = 0;
  bool json = false;

  int64_t windows_a_pass() const { return batch > 0 ? batch : 8; }
  /// Not derived from the tasks, so that the figures of one do not depend on which others are asked for.
  int64_t sequences_a_pass() const { return batch > 0 ? batch : 16; }
};

/// Results go to stdout as one JSON object, or as lines.
using EvalJson = nlohmann::ordered_json;

/// Updates `progress`; throws when the user has asked to stop.
std::function<void(int64_t, int64_t)> watched(ProgressLine& progress);

/// Four decimals; a perplexity of thousands with fewer.
std::string figure_text(double value);

/// Tasks, and a model opened long enough for all of them.
struct TaskRun {
  std::string model, recipe;
  std::vector<std::vector<ItemScore>> scores;  ///< of each task
  double seconds = 0;
};
std::vector<Task> load_tasks(const EvalOptions& options);
TaskRun run_tasks(const EvalOptions& options, const std::string& model, const std::string& recipe,
                  const std::vector<Task>& tasks, ThreadPool& pool);

/// Windows of --text: its tokens must outlive them.
struct TextRun {
  TextTokens text;
  int64_t length = 0, stride = 0;
  std::vector<ScoreRequest> windows;
  int64_t scored = 0;
};
TextRun open_text(const EvalOptions& options, const Tokenizer& tokenizer, int64_t context);

/// --tasks and --text of one model in one recipe; adds to `j` and prints lines unless --json.
void evaluate_tasks(const EvalOptions& options, ThreadPool& pool, EvalJson& j);
void evaluate_text(const EvalOptions& options, ThreadPool& pool, EvalJson& j);
/// --tasks and --text of two.
void evaluate_pair(const EvalOptions& options, ThreadPool& pool, EvalJson& j);

}  // namespace octavo
