// SPDX-License-Identifier: Apache-2.0
// Everything the page and the pictures show, worked out once: run directories in, figures and curves out.
#pragma once
#include <array>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "octavo/report/format_facts.h"
#include "octavo/report/run_data.h"
#include "octavo/report/series.h"
#include "octavo/report/tensor_name.h"

namespace octavo {

/// How much of each of three runs is kept, so that their page stays below 2 MB.
struct ReportLimits {
  size_t points = 800;       ///< of a curve
  size_t band_points = 200;  ///< of a band
  size_t cells = 9000;       ///< tensors x logged steps of the heat maps
  size_t histograms = 800;   ///< tensors x logged steps
};
/// The limits for each of `runs` runs.
ReportLimits limits_for(size_t runs);

struct ExponentCounts {
  int first = 0;
  std::vector<uint32_t> counts;
};

/// A figure at its worst step.
struct Worst {
  double value = kAbsent;
  int64_t step = 0;
};

/// One tensor of a run in one role: a row of the heat maps and of the table.
struct TensorRow {
  TensorId id;
  TensorClass tensor_class = TensorClass::other;
  LayerKind kind = LayerKind::other;
  int layer = -1;
  std::vector<float> scale, amax, underflow, saturation,
      snr;                                 ///< at TensorReport::steps; NaN where there is no line
  std::vector<ExponentCounts> histograms;  ///< at TensorReport::histogram_steps
  // Over every logged step, not only those kept:
  Worst underflow_worst, saturation_worst, snr_worst;
  double underflow_mean = kAbsent, scale_low = kAbsent, scale_high = kAbsent;
};

/// Figures of all tensors of one class at each logged step.
struct ClassBands {
  TensorClass tensor_class = TensorClass::other;
  std::vector<std::string> formats;
  Band underflow, saturation, snr;
  std::map<LayerKind, Band> bias;  ///< scaling bias b, scale = 2^-b, over the layers of a kind
};

struct TensorReport {
  int64_t logged_steps = 0;  ///< before thinning
  std::vector<double> steps, histogram_steps;
  std::vector<TensorRow> rows;  ///< by class, kind, layer, name
  std::vector<ClassBands> bands;
};

struct RunReport {
  RunData data;  ///< its lines are emptied once they are used
  std::string label;
  bool is_baseline = false;
  int64_t steps_done = 0;
  double tokens = kAbsent, wall_seconds = kAbsent;
  double train_loss = kAbsent, val_loss = kAbsent;    ///< at the end; train: mean of the last `window` steps
  double train_delta = kAbsent, val_delta = kAbsent;  ///< to the baseline at the last step both have
  int64_t val_step = 0;
  double tokens_per_second = kAbsent, speed_of_light = kAbsent;  ///< medians
  double memory_total = kAbsent;
  size_t window = 1;  ///< steps a smoothed value is the mean of
  Series loss, smooth, validation, delta, validation_delta, grad_norm, lr, rate, light;
  TensorReport tensors;
  std::map<std::string, std::string> missing;  ///< panel -> what to do to fill it
};

struct Report {
  std::string version, created;
  std::vector<RunReport> runs;
  size_t baseline = 0;
  std::map<std::string, FormatFacts> formats;
};

/// Works out a report. `runs` must not be empty. `baseline` is an index into them; without it the first run
/// in bf16 or fp32, or else the first, is what others are compared with.
Report make_report(std::vector<RunData> runs, std::optional<size_t> baseline = {});

/// The tensors of a run, for make_report().
TensorReport make_tensor_report(const RunData& run, const ReportLimits& limits);

}  // namespace octavo
