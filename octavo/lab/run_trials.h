// SPDX-License-Identifier: Apache-2.0
// Trains what is missing of a set of runs, one after the other in this process.
#pragma once
#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "octavo/lab/plan.h"
#include "octavo/train/trainer.h"

namespace octavo {

/// How a run's directory stands.
enum class TrialState { absent, begun, finished, diverged };

/// In the directory of a finished run whose model was not kept.
inline constexpr const char* kFinishedMark = "finished.json";

/// Of `trial`. Throws usage when the directory holds a run of another configuration or recipe, naming the
/// first key that differs with both values. Not compared: threads (results do not depend on it) and how paths
/// are written.
TrialState trial_state(const Trial& trial);

/// Why a diverged run stopped.
struct Divergence {
  int64_t step = 0;
  std::string message;
};
/// Reads `run`/diverged.json, the mark of a run that stopped for a loss or gradient that was not finite.
Divergence read_divergence(const std::string& run);

/// What a program shows while a set of runs trains.
class LabObserver {
 public:
  virtual ~LabObserver() = default;
  /// Before the first: `finished` of `total` need nothing.
  virtual void begin(size_t, size_t) {}
  /// Trial `index` of `total` starts or goes on.
  virtual void trial(size_t, size_t, const Trial&, const TrainStart&) {}
  /// `seconds_left` over all runs still to do, from the products they count and the speed so far.
  virtual void step(size_t, size_t, const Trial&, const StepReport&, double) {}
  /// `eval.tokens` is 0 when it diverged, then `why` says so, or without validation data.
  virtual void trained(size_t, size_t, const Trial&, const EvalReport&, const std::string&) {}
};

/// Trains every trial that is not finished; one that was interrupted goes on from its newest checkpoint, with
/// the bits of a run that was never stopped. A finished run keeps its figures and, where the trial says so,
/// final/; its checkpoints are removed. One whose loss or gradient stops being finite is marked and counts as
/// done. Before the first step all are checked: directories, recipes, memory and data. `stop` saves and ends
/// early. Returns whether all are done. One process at a time: throws usage when another one works in
/// `directory`.
bool run_trials(const std::vector<Trial>& trials, const std::string& directory, LabObserver& observer,
                const std::atomic<bool>& stop);

}  // namespace octavo
