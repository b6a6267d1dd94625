// SPDX-License-Identifier: Apache-2.0
#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <ctime>
#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/base/version.h"
#include "octavo/lab/result.h"
#include "octavo/lab/run_trials.h"

namespace octavo {
namespace {

void add_format(ClassFigures& figures, const std::string& format) {
  const auto place = std::lower_bound(figures.formats.begin(), figures.formats.end(), format);
  if (place == figures.formats.end() || *place != format) figures.formats.insert(place, format);
}

/// The worse of both; fmin and fmax pass over a NaN.
void worsen(ClassFigures& figures, double snr_db, double underflow, double saturation) {
  figures.snr_db = std::fmin(figures.snr_db, snr_db);
  figures.underflow = std::fmax(figures.underflow, underflow);
  figures.saturation = std::fmax(figures.saturation, saturation);
}

std::map<TensorClass, ClassFigures> class_figures(const RunData& run) {
  std::map<TensorClass, ClassFigures> out;
  for (const TensorLine& line : run.tensors) {
    const TensorId& id = run.tensor_ids[static_cast<size_t>(line.id)];
    ClassFigures& figures = out[tensor_class(id.role)];
    add_format(figures, id.format);
    worsen(figures, static_cast<double>(line.snr_db), static_cast<double>(line.underflow),
           static_cast<double>(line.saturation));
  }
  return out;
}

double bytes_of(const std::map<std::string, double>& memory, const char* category) {
  const auto found = memory.find(category);
  return found == memory.end() ? kAbsent : found->second;
}

RowResult make_row(std::string label, std::vector<TrialResult> trials) {
  RowResult row;
  row.label = std::move(label);
  std::vector<double> losses, rates;
  for (const TrialResult& trial : trials) {
    losses.push_back(trial.val_loss);
    if (std::isfinite(trial.tokens_per_second)) rates.push_back(trial.tokens_per_second);
    if (!trial.divergence.empty()) ++row.diverged;
    for (const auto& [tensor_class, figures] : trial.classes) {
      ClassFigures& worst = row.classes[tensor_class];
      for (const std::string& format : figures.formats) add_format(worst, format);
      worsen(worst, figures.snr_db, figures.underflow, figures.saturation);
    }
  }
  row.val_loss = estimate(losses);
  row.delta = estimate({});
  row.tokens_per_second = median(rates);
  // A row's runs are of one shape.
  const std::map<std::string, double>& memory = trials.front().memory;
  row.parameters = trials.front().parameters;
  row.activation_bytes = bytes_of(memory, "activations");
  const double copies = bytes_of(memory, "compute weights");
  row.weight_bytes = copies > 0 ? copies : bytes_of(memory, "weights");
  row.trials = std::move(trials);
  return row;
}

std::vector<double> losses_of(const RowResult& row) {
  std::vector<double> out;
  for (const TrialResult& trial : row.trials) out.push_back(trial.val_loss);
  return out;
}

}  // namespace

TrialResult read_trial(const Trial& trial) {
  RunData run = read_run(trial.config.out);
  TrialResult out;
  out.run = "runs/" + trial.name;
  out.seed = trial.config.seed;
  out.parameters = run.parameters;
  out.memory = run.memory;
  out.classes = class_figures(run);
  if (!run.steps.empty()) out.steps = run.steps.back().step;
  if (std::filesystem::exists(trial.config.out + "/diverged.json")) {
    out.divergence = read_divergence(trial.config.out).message;
  } else if (trial.needs_validation || !run.evals.empty()) {
    if (run.evals.empty() || run.evals.back().step != trial.config.train.steps)
      fail_data(fmt::format("'{}/metrics.jsonl': no validation loss of step {}, the last one",
                            trial.config.out, trial.config.train.steps));
    out.val_loss = run.evals.back().loss;
  }
  std::vector<RunData> one;
  one.push_back(std::move(run));
  const Report report = make_report(std::move(one));
  out.train_loss = report.runs[0].train_loss;
  out.tokens_per_second = report.runs[0].tokens_per_second;
  return out;
}

LabResult collect(const LabPlan& plan, const std::vector<Trial>& trials) {
  LabResult out;
  out.plan = plan;
  out.version = fmt::format("{} ({})", version(), commit());
  out.created = fmt::format("{:%Y-%m-%d %H:%M %z}", fmt::localtime(std::time(nullptr)));
  const std::vector<GroupPoint> points = group_points(plan);
  std::vector<std::vector<std::vector<TrialResult>>> results(
      points.size(), std::vector<std::vector<TrialResult>>(plan.rows.values.size(),
                                                           std::vector<TrialResult>(plan.seeds.size())));
  for (const Trial& trial : trials) {
    results[trial.group][trial.row][trial.seed_index] = read_trial(trial);
    if (&trial == &trials.front()) out.steps = trial.config.train.steps;
    if (out.steps != trial.config.train.steps) out.steps = 0;
  }
  for (size_t g = 0; g < points.size(); ++g) {
    GroupResult group;
    group.point = points[g];
    for (size_t r = 0; r < plan.rows.values.size(); ++r)
      group.rows.push_back(make_row(plan.rows.values[r].label, std::move(results[g][r])));
    if (plan.sweep) {
      out.groups.push_back(std::move(group));
      continue;
    }
    group.rows[plan.baseline].is_baseline = true;
    const std::vector<double> base = losses_of(group.rows[plan.baseline]);
    for (RowResult& row : group.rows)
      if (!row.is_baseline) row.delta = paired_percent(losses_of(row), base);
    if (!plan.interval.family.empty()) group.interval = find_interval(group.rows, plan.interval);
    out.groups.push_back(std::move(group));
  }
  return out;
}

}  // namespace octavo
