// SPDX-License-Identifier: Apache-2.0
#include "lab_console.h"

#include <fmt/format.h>

#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/lab/lab_data.h"
#include "octavo/lab/result.h"
#include "octavo/lab/run_trials.h"
#include "octavo/lab/sweep.h"
#include "terminal.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

class Console : public LabObserver {
 public:
  /// `lines` may be null.
  explicit Console(const SweepLines* lines) : lines_(lines) {}
  void begin(size_t total, size_t finished) override {
    if (lines_) lines_->rebuild();
    message(finished > 0 ? fmt::format("{} runs, {} of them finished before", total, finished)
                         : fmt::format("{} runs", total));
  }
  void trial(size_t index, size_t total, const Trial& trial, const TrainStart& start) override {
    for (const std::string& warning : start.warnings) message("warning: " + warning);
    message(
        fmt::format("run {}/{}  {}  {}{}", index + 1, total, trial.name, start.model,
                    start.resumed_from.empty() ? "" : fmt::format(", resumed at step {}", start.first_step)));
    since_line_.restart();
  }
  void step(size_t index, size_t total, const Trial& trial, const StepReport& r, double left) override {
    const std::string line =
        fmt::format("run {}/{}  {}  step {}/{}  loss {:.4f}  {} tok/s  all runs {} left", index + 1, total,
                    trial.name, r.step, r.steps, r.loss, short_number(r.tokens_per_second), duration(left));
    if (interactive()) {
      status(line);
    } else if (since_line_.seconds() >= 30) {
      since_line_.restart();
      message(line);
    }
    left_ = left;
    loss_ = r.loss;
  }
  void trained(size_t index, size_t total, const Trial& trial, const EvalReport& eval,
               const std::string& why) override {
    if (lines_) lines_->append(index);
    const std::string end = !why.empty()      ? "diverged: " + why
                            : eval.tokens > 0 ? fmt::format("validation loss {:.4f}", eval.loss)
                                              : fmt::format("training loss {:.4f}", loss_);
    message(fmt::format("run {}/{}  {}  {}  all runs {} left", index + 1, total, trial.name, end,
                        duration(left_)));
  }

 private:
  Stopwatch since_line_;
  double left_ = 0, loss_ = 0;
  const SweepLines* lines_;
};

std::string prepared(const LabPlan& plan, const std::string& directory) {
  std::unique_ptr<ProgressLine> progress;
  std::string stage;
  const auto show = [&](const char* name, int64_t done, int64_t total) {
    if (stage != name) {
      if (progress) progress->finish();
      stage = name;
      progress = std::make_unique<ProgressLine>(stage, stage == "train tokenizer" ? "tokens" : "bytes");
    }
    progress->update(done, total);
  };
  const std::string path = lab_data(plan.data, plan.vocab_size, directory, show, !plan.sweep);
  if (progress) progress->finish();
  return path;
}

}  // namespace

Setting parse_setting(const std::string& assignment) {
  const size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0)
    fail_usage(fmt::format("--set {}: expected key=value, for instance --set optim.lr=3e-4", assignment));
  Setting setting{assignment.substr(0, equals), assignment.substr(equals + 1), "--set"};
  if (const std::string why = reserved_key(setting.key); !why.empty()) fail_usage("--set: " + why);
  return setting;
}

void run_lab(LabPlan plan, const std::string& directory, bool json) {
  // Names are checked before minutes of preparing data, all else before the first step.
  make_trials(plan, directory, "");
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) fail_data(fmt::format("cannot create '{}': {}", directory, error.message()));
  const std::string data = prepared(plan, directory);
  const std::vector<Trial> trials = make_trials(plan, directory, data);
  std::optional<SweepLines> lines;
  if (plan.sweep) lines.emplace(plan, trials, directory + "/results.jsonl");
  Console console(lines ? &*lines : nullptr);
  if (!run_trials(trials, directory, console, stop_requested())) {
    message("interrupted; the same command goes on where this one stopped");
    exit_status() = static_cast<int>(ExitCode::interrupted);
    return;
  }
  if (lines) lines->rebuild();
  const LabResult result = collect(plan, trials);
  const std::string document = to_json(result);
  write_file_atomic(directory + "/results.json", document);
  for (const auto& [name, page] : make_pages(result, directory)) {
    write_file_atomic(directory + "/" + name, page);
    message(fmt::format("{}/{} ({})", directory, name, bytes_text(static_cast<double>(page.size()))));
  }
  message(directory + "/results.json");
  if (lines) message(directory + "/results.jsonl");
  fmt::print("{}", json ? document : to_text(result));
}

}  // namespace octavo
