// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <functional>
#include <set>

#include "octavo/base/version.h"
#include "octavo/report/report.h"

namespace octavo {
namespace {

Series curve(const RunData& run, double StepLine::*figure) {
  Series out;
  for (const StepLine& line : run.steps) out.add(static_cast<double>(line.step), line.*figure);
  return out;
}

double last(const Series& series) { return series.y.empty() ? kAbsent : series.y.back(); }

/// Of the second half of a run: the first steps touch fresh memory and raise the clock.
double settled_median(const Series& series) {
  return median({series.y.begin() + static_cast<std::ptrdiff_t>(series.y.size() / 2), series.y.end()});
}

/// a - b at the x both have.
Series difference(const Series& a, const Series& b) {
  Series out;
  for (size_t i = 0, k = 0; i < a.x.size(); ++i) {
    while (k < b.x.size() && b.x[k] < a.x[i]) ++k;
    if (k < b.x.size() && b.x[k] == a.x[i]) out.add(a.x[i], a.y[i] - b.y[k]);
  }
  return out;
}

/// The whole curves, which are thinned only when every difference is taken.
RunReport begin_run(RunData data, const ReportLimits& limits) {
  RunReport run;
  run.loss = curve(data, &StepLine::loss);
  run.grad_norm = curve(data, &StepLine::grad_norm);
  run.lr = curve(data, &StepLine::lr);
  run.rate = curve(data, &StepLine::tokens_per_second);
  run.light = curve(data, &StepLine::speed_of_light);
  for (const EvalLine& line : data.evals) run.validation.add(static_cast<double>(line.step), line.loss);
  run.window = smoothing_window(run.loss.x.size());
  run.smooth = running_mean(run.loss, run.window);
  run.train_loss = last(run.smooth);
  run.val_loss = last(run.validation);
  if (!run.validation.x.empty()) run.val_step = static_cast<int64_t>(run.validation.x.back());
  run.tokens_per_second = settled_median(run.rate);
  run.speed_of_light = settled_median(run.light);
  if (!data.steps.empty()) {
    run.steps_done = data.steps.back().step;
    run.tokens = data.steps.back().tokens;
    run.wall_seconds = 0;
    for (const StepLine& line : data.steps)
      if (std::isfinite(line.ms)) run.wall_seconds += line.ms / 1e3;
  }
  if (!data.memory.empty()) run.memory_total = 0;
  for (const auto& [category, bytes] : data.memory) run.memory_total += bytes;
  run.tensors = make_tensor_report(data, limits);
  run.data = std::move(data);
  return run;
}

void say_what_is_missing(RunReport& run) {
  const RunData& data = run.data;
  const std::string again = " Train again with ";
  if (run.loss.x.empty()) run.missing["loss"] = "This directory has no training steps (metrics.jsonl).";
  if (run.validation.x.empty() && !run.loss.x.empty())
    run.missing["validation"] =
        "No validation loss was recorded." + again + "--eval-every 50 and data that has a validation split.";
  if (run.tensors.rows.empty()) {
    const auto every = data.config.find("log.tensors_every");
    run.missing["tensors"] =
        every != data.config.end() && every->second == "0"
            ? "Tensors were not logged." + again + "--log-tensors 10."
        : run.steps_done > 0
            ? fmt::format(
                  "No tensor of this run carries a scale: recipe {} computes in 16 bits or more. Train with "
                  "--recipe fp8-amax --log-tensors 10 to see scales.",
                  data.recipe.empty() ? "unknown" : data.recipe)
            : "Nothing was logged about tensors." + again + "--log-tensors 10.";
  } else if (run.tensors.histogram_steps.empty()) {
    run.missing["histograms"] =
        "This run was recorded by a version without histograms." + again + "--log-tensors 10.";
  }
  const bool trained = run.steps_done > 0;
  if (data.profile_ms.empty())
    run.missing["profile"] = trained ? "The time of a step was not split." + again + "--profile."
                                     : "Recorded by training runs only, with --profile.";
  if (data.memory.empty())
    run.missing["memory"] = trained ? "The memory table was not recorded: the run is older than this page. "
                                      "Train again, or see octavo "
                                      "train --dry-run."
                                    : "Recorded by training runs only.";
}

/// The last part of each path; the whole path where that is not enough to tell runs apart.
void label_runs(std::vector<RunReport>& runs) {
  for (RunReport& run : runs) {
    const bool alone = std::count_if(runs.begin(), runs.end(), [&](const RunReport& other) {
                         return other.data.name == run.data.name;
                       }) == 1;
    run.label = alone ? run.data.name : run.data.path;
  }
}

size_t choose_baseline(const std::vector<RunReport>& runs) {
  for (size_t i = 0; i < runs.size(); ++i)
    if (runs[i].data.recipe == "bf16" || runs[i].data.recipe == "fp32") return i;
  return 0;
}

}  // namespace

ReportLimits limits_for(size_t runs) {
  ReportLimits limits;
  const auto shared = [&](size_t for_three, size_t least) { return std::max(for_three * 3 / runs, least); };
  limits.points = std::min(shared(limits.points, 50), size_t{1000});  // about one a pixel
  limits.band_points = shared(limits.band_points, 20);
  limits.cells = shared(limits.cells, 200);
  limits.histograms = shared(limits.histograms, 50);
  return limits;
}

Report make_report(std::vector<RunData> runs, std::optional<size_t> baseline_index) {
  Report report;
  report.version = fmt::format("{} ({})", version(), commit());
  report.created = fmt::format("{:%Y-%m-%d %H:%M %z}", fmt::localtime(std::time(nullptr)));
  const ReportLimits limits = limits_for(runs.size());
  for (RunData& data : runs) report.runs.push_back(begin_run(std::move(data), limits));
  label_runs(report.runs);
  report.baseline = baseline_index ? *baseline_index : choose_baseline(report.runs);
  RunReport& baseline = report.runs[report.baseline];
  baseline.is_baseline = true;

  for (RunReport& run : report.runs) {
    say_what_is_missing(run);
    for (const TensorRow& row : run.tensors.rows)
      if (const auto facts = format_facts(row.id.format)) report.formats.emplace(row.id.format, *facts);
    if (run.is_baseline) continue;
    run.delta = running_mean(difference(run.loss, baseline.loss), run.window);
    run.validation_delta = difference(run.validation, baseline.validation);
    run.train_delta = last(run.delta);
    run.val_delta = last(run.validation_delta);
  }
  for (RunReport& run : report.runs) {
    for (Series* series : {&run.loss, &run.smooth, &run.validation, &run.delta, &run.validation_delta,
                           &run.grad_norm, &run.lr, &run.rate, &run.light})
      *series = downsample(*series, limits.points);
    run.data.steps.clear();
    run.data.evals.clear();
    run.data.tensors.clear();
  }
  return report;
}

}  // namespace octavo
