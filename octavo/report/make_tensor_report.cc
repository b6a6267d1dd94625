// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <tuple>

#include "octavo/report/report.h"

namespace octavo {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

/// `most` of the positions 0..count-1, spread evenly, both ends among them.
std::vector<size_t> spread(size_t count, size_t most) {
  most = std::max<size_t>(most, 2);
  std::vector<size_t> out;
  if (count <= most) {
    for (size_t i = 0; i < count; ++i) out.push_back(i);
    return out;
  }
  for (size_t i = 0; i < most; ++i) out.push_back(i * (count - 1) / (most - 1));
  return out;
}

/// Keeps the worse of two values: the larger, or the smaller where less is worse.
void worsen(Worst& worst, double value, int64_t step, bool less_is_worse = false) {
  if (!std::isfinite(value)) return;
  if (std::isfinite(worst.value) && (less_is_worse ? value >= worst.value : value <= worst.value)) return;
  worst = {value, step};
}

std::vector<TensorRow> make_rows(const RunData& run, std::vector<size_t>& row_of_id) {
  std::vector<std::pair<TensorRow, size_t>> rows;
  for (size_t id = 0; id < run.tensor_ids.size(); ++id) {
    TensorRow row;
    row.id = run.tensor_ids[id];
    row.tensor_class = tensor_class(row.id.role);
    row.kind = layer_kind(row.id.tensor);
    row.layer = layer_index(row.id.tensor);
    rows.emplace_back(row, id);
  }
  std::sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) {
    const auto key = [](const TensorRow& r) { return std::tie(r.tensor_class, r.kind, r.layer, r.id); };
    return key(a.first) < key(b.first);
  });
  std::vector<TensorRow> out;
  row_of_id.resize(rows.size());
  for (auto& [row, id] : rows) {
    row_of_id[id] = out.size();
    out.push_back(std::move(row));
  }
  return out;
}

/// Extremes over every line, and the mean underflow.
void add_extremes(const RunData& run, const std::vector<size_t>& row_of_id, std::vector<TensorRow>& rows) {
  std::vector<double> sums(rows.size(), 0.0);
  std::vector<int64_t> counts(rows.size(), 0);
  for (const TensorLine& line : run.tensors) {
    const size_t r = row_of_id[static_cast<size_t>(line.id)];
    TensorRow& row = rows[r];
    worsen(row.underflow_worst, static_cast<double>(line.underflow), line.step);
    worsen(row.saturation_worst, static_cast<double>(line.saturation), line.step);
    worsen(row.snr_worst, static_cast<double>(line.snr_db), line.step, true);
    // fmin and fmax pass over a NaN.
    row.scale_low = std::fmin(row.scale_low, static_cast<double>(line.scale_exponent));
    row.scale_high = std::fmax(row.scale_high, static_cast<double>(line.scale_exponent));
    if (!std::isfinite(line.underflow)) continue;
    sums[r] += static_cast<double>(line.underflow);
    ++counts[r];
  }
  for (size_t r = 0; r < rows.size(); ++r)
    if (counts[r] > 0) rows[r].underflow_mean = sums[r] / static_cast<double>(counts[r]);
}

std::vector<ClassBands> make_bands(const RunData& run, const std::vector<size_t>& row_of_id,
                                   const std::vector<TensorRow>& rows, size_t most) {
  std::vector<ClassBands> out;
  for (const TensorClass wanted : kTensorClasses) {
    ClassBands bands;
    bands.tensor_class = wanted;
    std::set<std::string> formats;
    for (auto line = run.tensors.begin(); line != run.tensors.end();) {
      const int64_t step = line->step;
      std::vector<double> underflow, saturation, snr;
      std::map<LayerKind, std::vector<double>> bias;
      for (; line != run.tensors.end() && line->step == step; ++line) {
        const TensorRow& row = rows[row_of_id[static_cast<size_t>(line->id)]];
        if (row.tensor_class != wanted) continue;
        formats.insert(row.id.format);
        underflow.push_back(static_cast<double>(line->underflow));
        saturation.push_back(static_cast<double>(line->saturation));
        snr.push_back(static_cast<double>(line->snr_db));
        bias[row.kind].push_back(-static_cast<double>(line->scale_exponent));
      }
      const double x = static_cast<double>(step);
      bands.underflow.add(x, underflow);
      bands.saturation.add(x, saturation);
      bands.snr.add(x, snr);
      for (auto& [kind, values] : bias) bands.bias[kind].add(x, values);
    }
    if (formats.empty()) continue;
    bands.formats.assign(formats.begin(), formats.end());
    for (Band* band : {&bands.underflow, &bands.saturation, &bands.snr}) *band = downsample(*band, most);
    for (auto& [kind, band] : bands.bias) band = downsample(band, most);
    out.push_back(std::move(bands));
  }
  return out;
}

}  // namespace

TensorReport make_tensor_report(const RunData& run, const ReportLimits& limits) {
  TensorReport out;
  std::vector<size_t> row_of_id;
  out.rows = make_rows(run, row_of_id);
  if (out.rows.empty()) return out;
  add_extremes(run, row_of_id, out.rows);
  out.bands = make_bands(run, row_of_id, out.rows, limits.band_points);

  std::vector<int64_t> all;
  for (const TensorLine& line : run.tensors)
    if (all.empty() || all.back() != line.step) all.push_back(line.step);
  out.logged_steps = static_cast<int64_t>(all.size());
  std::map<int64_t, size_t> column, histogram_column;
  for (const size_t i : spread(all.size(), limits.cells / out.rows.size())) {
    column[all[i]] = out.steps.size();
    out.steps.push_back(static_cast<double>(all[i]));
  }
  const bool counted = std::any_of(run.tensors.begin(), run.tensors.end(),
                                   [](const TensorLine& l) { return !l.exponent_counts.empty(); });
  // Histograms stand at steps the heat maps show, so that a click on a cell finds one near.
  if (counted)
    for (const size_t i : spread(out.steps.size(), limits.histograms / out.rows.size())) {
      histogram_column[static_cast<int64_t>(out.steps[i])] = out.histogram_steps.size();
      out.histogram_steps.push_back(out.steps[i]);
    }
  for (TensorRow& row : out.rows) {
    for (std::vector<float>* values : {&row.scale, &row.amax, &row.underflow, &row.saturation, &row.snr})
      values->assign(out.steps.size(), kNone);
    row.histograms.resize(out.histogram_steps.size());
  }
  for (const TensorLine& line : run.tensors) {
    TensorRow& row = out.rows[row_of_id[static_cast<size_t>(line.id)]];
    if (const auto at = column.find(line.step); at != column.end()) {
      row.scale[at->second] = line.scale_exponent;
      row.amax[at->second] = line.amax;
      row.underflow[at->second] = line.underflow;
      row.saturation[at->second] = line.saturation;
      row.snr[at->second] = line.snr_db;
    }
    if (const auto at = histogram_column.find(line.step); at != histogram_column.end())
      row.histograms[at->second] = {line.exponent_first, line.exponent_counts};
  }
  return out;
}

}  // namespace octavo
