// SPDX-License-Identifier: Apache-2.0
// The training loop.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/nn/pass.h"
#include "octavo/train/data_parallel.h"
#include "octavo/train/run_config.h"

namespace octavo {

/// Known before the first step.
struct TrainStart {
  std::string run;    ///< directory
  std::string model;  ///< "gpt2, 4 x 192, 2.6M parameters"
  std::string recipe;
  std::map<std::string, size_t> memory;  ///< bytes by category: planned and allocated
  int64_t first_step = 0, steps = 0;
  int64_t tokens_per_step = 0, train_tokens = 0;
  double epochs = 0;     ///< the run's steps go through the training data
  int64_t examples = 0;  ///< for fine-tuning; 0: the data are plain tokens
  int threads = 1;
  std::string gemm_variant;  ///< kernel of the linear layers
  double peak_flops = 0;     ///< measured peak of the unit it uses
  std::string resumed_from;  ///< checkpoint, or empty
  std::vector<std::string> warnings;
  int processes = 1, logical_ranks = 1, zero = 0;
  StepTraffic traffic{};  ///< planned: of this process, to others
  double step_flops = 0;  ///< products of linear layers and attention, counted from shapes
};

/// Thrown by train() when a loss or a gradient stops being finite: bad_data for a single run, a finding where
/// recipes are compared.
class Diverged : public Error {
 public:
  Diverged(int64_t step, const std::string& message) : Error(ExitCode::bad_data, message), step_(step) {}
  int64_t step() const { return step_; }

 private:
  int64_t step_;
};

struct StepReport {
  int64_t step = 0, steps = 0;             ///< 1-based
  int64_t counted = 0;                     ///< targets that counted
  double loss = 0, grad_norm = 0, lr = 0;  ///< loss and gradients: mean over the counted targets
  double seconds = 0, tokens_per_second = 0;
  double speed_of_light =
      0;  ///< time an ideal machine needs for the step's GEMMs and attention / measured time, 0..1
  double seconds_left = 0;
  double loss_scale = 1;  ///< of the gradients of this step
  bool skipped = false;   ///< they were not finite under a dynamic loss scale: no update
  bool log = false;       ///< every log.every steps and at the last
  StepTimes times;
  StepTraffic traffic{};  ///< bytes that were sent
};

struct EvalReport {
  int64_t step = 0, tokens = 0;
  double loss = 0;  ///< natural units a token
};

/// What a program shows of a run. All calls come from the thread that called train().
class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void start(const TrainStart&) {}
  virtual void step(const StepReport&) {}
  virtual void evaluated(const EvalReport&) {}
  virtual void checkpointed(const std::string&) {}
};

struct TrainResult {
  bool interrupted = false;
  int64_t steps = 0;
  EvalReport last_eval;  ///< tokens == 0: there was no validation data
  double seconds = 0;
  StepTraffic sent{},
      planned{};  ///< by this process to others: in all steps of this call; in one, from shapes
  std::string run, final_directory;  ///< final_directory is empty when interrupted
};

/// Runs `config` (validated here) to its end, or until `stop` becomes true: then a checkpoint is saved first.
/// With `resume` the run in config.out goes on from its newest complete checkpoint, with the same bits as if
/// it had never stopped. A loss or gradient that is not finite throws Diverged, which names the last good
/// checkpoint.
///
/// With `comm` the processes behind it train together (data_parallel.h): all call train() with the same
/// arguments. Only the first one touches the run directory and reports to its observer. Without, this process
/// is alone.
TrainResult train(RunConfig config, bool resume, TrainObserver& observer, const std::atomic<bool>& stop,
                  CommThread* comm = nullptr);

/// What train() would say at the start of each of `processes` processes, from shapes alone.
std::vector<TrainStart> plan_training(RunConfig config, int processes = 1);

}  // namespace octavo
