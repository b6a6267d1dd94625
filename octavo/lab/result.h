// SPDX-License-Identifier: Apache-2.0
// What a comparison found: figures of every run, read back from its directory, and of every row over its
// seeds.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "octavo/lab/plan.h"
#include "octavo/lab/statistics.h"
#include "octavo/report/report.h"

namespace octavo {

/// The worst of all tensors of a class at all logged steps (and of all seeds, in a row). NaN: none was
/// logged.
struct ClassFigures {
  std::vector<std::string> formats;
  double snr_db = kAbsent;      ///< the lowest
  double underflow = kAbsent;   ///< the highest share, 0..1
  double saturation = kAbsent;  ///< likewise
};

struct TrialResult {
  std::string run;  ///< directory relative to that of the comparison: "runs/NAME"
  int64_t seed = 0, steps = 0;
  std::string divergence;              ///< why it stopped; empty when it reached its end
  double val_loss = kAbsent;           ///< at the last step; absent when it diverged
  double train_loss = kAbsent;         ///< mean of the last steps (smoothing_window of docs/report.md)
  double tokens_per_second = kAbsent;  ///< median of the second half
  double parameters = kAbsent;
  std::map<std::string, double> memory;  ///< bytes by category
  std::map<TensorClass, ClassFigures> classes;
};

struct RowResult {
  std::string label;
  bool is_baseline = false;
  std::vector<TrialResult> trials;  ///< one a seed, in the plan's order
  size_t diverged = 0;
  Estimate val_loss;  ///< over seeds
  Estimate delta;     ///< per cent of the baseline's loss, paired over seeds; nothing for the baseline itself
  std::map<TensorClass, ClassFigures> classes;
  double tokens_per_second = kAbsent;  ///< median over seeds
  double parameters = kAbsent;
  double activation_bytes = kAbsent;  ///< kept between forward and backward pass
  double weight_bytes = kAbsent;      ///< what products read: the compute copies, or the masters without such
};

/// A constant of a NAME:VALUE recipe and its distance to the baseline.
struct ConstantPoint {
  double constant = 0;
  size_t row = 0;  ///< index into GroupResult::rows
};

/// The constants around the best one whose mean distance is at most `within` per cent, without a gap between.
struct Interval {
  std::vector<ConstantPoint> points;         ///< by constant
  std::optional<double> low, high;           ///< nothing when none is within
  bool open_low = false, open_high = false;  ///< ends where the sweep ends: it may reach further
  double band = kAbsent;  ///< the widest of the distances within; more than `within`: noise decides
};

struct GroupResult {
  GroupPoint point;
  std::vector<RowResult> rows;
  std::optional<Interval> interval;  ///< when the plan asks for it
};

struct LabResult {
  LabPlan plan;
  std::string version, created;
  int64_t steps = 0;  ///< of a run; 0 when they differ
  std::vector<GroupResult> groups;
};

/// Reads the figures of one finished or diverged trial. Throws bad_data when its files do not hold them.
TrialResult read_trial(const Trial& trial);

/// All figures of a comparison whose runs are done.
LabResult collect(const LabPlan& plan, const std::vector<Trial>& trials);

/// The interval of the rows called "FAMILY:NUMBER".
Interval find_interval(const std::vector<RowResult>& rows, const IntervalSpec& spec);

/// results.json, schema "octavo-lab-1" of docs/experiments.md.
std::string to_json(const LabResult& result);
/// The table for a terminal, UTF-8, ending with a line end; a heading a group when there are several.
std::string to_text(const LabResult& result);

/// report.html and, where there are several groups, report-<group>.html: the page of octavo report about one
/// group's runs of the first seed, with the panel "recipes over seeds" on top. At most kRunsOnPage runs are
/// drawn in detail: the baseline, and the rest evenly spread. Of a sweep one page with its plots alone.
/// Returns file name -> page.
inline constexpr size_t kRunsOnPage = 9;  // a colour each
std::map<std::string, std::string> make_pages(const LabResult& result, const std::string& directory);

}  // namespace octavo
