// SPDX-License-Identifier: Apache-2.0
// A grid of runs as hyperparameter transfer reads it: loss against one key, a curve for each value of another
// (after the figures of arXiv:2203.03466 and arXiv:2502.05967).
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "octavo/lab/result.h"

namespace octavo {

/// Makes `plan` a sweep: `x` and `curves` ("" for none) as parse_axis() reads them, one plot for each
/// combination of `panels`. Throws usage, also when two axes or an axis and plan.overrides set the same key.
void set_sweep(LabPlan& plan, const std::string& x, const std::string& curves,
               const std::vector<std::string>& panels);

/// How values of x lie beside each other: by name, by number, or by the logarithm of numbers that are all
/// positive and spread over a factor of 4 or more.
enum class XScale { category, linear, log2 };

struct SweepPoint {
  size_t row = 0;       ///< index into GroupResult::rows
  double x = kAbsent;   ///< nothing on an axis of names
  Estimate loss{};      ///< over the seeds that did not diverge
  size_t diverged = 0;  ///< seeds; such a point is never the best
};

struct SweepCurve {
  std::string label;               ///< value of the curves' axis; "" without one
  size_t group = 0;                ///< index into LabResult::groups
  std::vector<SweepPoint> points;  ///< by x; names in their order
  // Indices into points:
  std::optional<size_t> best;  ///< nothing when every point diverged
  std::vector<size_t> flat;    ///< within SweepSpec::within of the best; of numbers the stretch around it
  bool at_edge = false;        ///< the best x is the first or last of several: better ones may lie beyond
  double shift = kAbsent;      ///< log2(best x / best x of the panel's first curve), of positive numbers
};

struct SweepPanel {
  std::string label;  ///< "recipe bf16"; "" when there is only one
  std::vector<SweepCurve> curves;
};

struct Sweep {
  bool validation = true;  ///< the losses are of the validation data; else of the training's last steps
  XScale scale = XScale::category;
  std::vector<SweepPanel> panels;
};

/// Of a result whose plan is a sweep.
Sweep read_sweep(const LabResult& result);

/// The loss of one seed, kAbsent when it diverged.
double sweep_loss(const Sweep& sweep, const TrialResult& trial);

/// results.jsonl: a line for each run that is done.
class SweepLines {
 public:
  SweepLines(const LabPlan& plan, const std::vector<Trial>& trials, std::string path);
  /// Writes the file anew, in the order of the trials, from the directories of those that are done.
  void rebuild() const;
  /// Adds the line of a trial that has just ended.
  void append(size_t index) const;

 private:
  std::string line(const Trial& trial) const;
  const LabPlan& plan_;
  const std::vector<Trial>& trials_;
  std::vector<GroupPoint> points_;
  std::string path_;
};

}  // namespace octavo
