// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/document.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/report/palette.h"

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kDigits = 5;  // of a curve: a loss of 3.1416 to 1e-4

Json number(double value, int digits = kDigits) {
  if (!std::isfinite(value)) return nullptr;
  const double rounded = significant(value, digits);
  // "300", not "300.0"
  if (std::fabs(rounded) < 1e15 && rounded == std::floor(rounded)) return static_cast<int64_t>(rounded);
  return rounded;
}

template <class T>
Json numbers(const std::vector<T>& values, int digits = kDigits) {
  Json out = Json::array();
  for (const T value : values) out.push_back(number(static_cast<double>(value), digits));
  return out;
}

/// Steps are exact whatever their size.
Json steps(const std::vector<double>& values) { return numbers(values, 16); }

Json to_json(const Series& series, int digits = kDigits) {
  return {{"x", steps(series.x)}, {"y", numbers(series.y, digits)}, {"of", series.of}};
}

Json to_json(const Band& band, int digits) {
  return {{"x", steps(band.x)},
          {"low", numbers(band.low, digits)},
          {"median", numbers(band.median, digits)},
          {"high", numbers(band.high, digits)},
          {"of", band.of}};
}

Json to_json(const Worst& worst, int digits) { return {number(worst.value, digits), worst.step}; }

Json to_json(const TensorRow& row) {
  Json out;
  out["tensor"] = row.id.tensor;
  out["short"] = short_name(row.id.tensor, row.id.role);
  out["role"] = row.id.role;
  out["format"] = row.id.format;
  out["class"] = to_string(row.tensor_class);
  out["kind"] = to_string(row.kind);
  out["layer"] = row.layer;
  out["scale"] = numbers(row.scale, 4);
  out["amax"] = numbers(row.amax, 3);
  out["underflow"] = numbers(row.underflow, 2);
  out["saturation"] = numbers(row.saturation, 2);
  out["snr"] = numbers(row.snr, 3);
  out["worst"] = {{"underflow", to_json(row.underflow_worst, 3)},
                  {"saturation", to_json(row.saturation_worst, 3)},
                  {"snr", to_json(row.snr_worst, 4)},
                  {"underflow_mean", number(row.underflow_mean, 3)},
                  {"scale", {number(row.scale_low, 4), number(row.scale_high, 4)}}};
  Json histograms = Json::array();
  for (const ExponentCounts& h : row.histograms) {
    Json one = Json::array();
    if (!h.counts.empty()) one.push_back(h.first);
    for (const uint32_t count : h.counts) one.push_back(count);
    histograms.push_back(std::move(one));
  }
  out["histograms"] = std::move(histograms);
  return out;
}

Json to_json(const TensorReport& tensors) {
  Json out;
  out["logged_steps"] = tensors.logged_steps;
  out["steps"] = steps(tensors.steps);
  out["histogram_steps"] = steps(tensors.histogram_steps);
  out["rows"] = Json::array();
  for (const TensorRow& row : tensors.rows) out["rows"].push_back(to_json(row));
  out["classes"] = Json::array();
  for (const ClassBands& bands : tensors.bands) {
    Json one;
    one["class"] = to_string(bands.tensor_class);
    one["formats"] = bands.formats;
    one["underflow"] = to_json(bands.underflow, 3);
    one["saturation"] = to_json(bands.saturation, 3);
    one["snr"] = to_json(bands.snr, 4);
    one["bias"] = Json::object();
    for (const auto& [kind, band] : bands.bias) one["bias"][std::string(to_string(kind))] = to_json(band, 4);
    out["classes"].push_back(std::move(one));
  }
  return out;
}

Json to_json(const RunReport& run) {
  const RunData& data = run.data;
  Json out;
  out["name"] = run.label;
  out["path"] = data.path;
  out["baseline"] = run.is_baseline;
  out["recipe"] = {{"name", data.recipe},
                   {"description", data.description},
                   {"paper", data.paper},
                   {"deviations", data.deviations}};
  out["config"] = data.config;
  out["env"] = data.env;
  out["figures"] = {{"steps", run.steps_done},
                    {"tokens", number(run.tokens, 16)},
                    {"parameters", number(data.parameters, 16)},
                    {"train_loss", number(run.train_loss, 6)},
                    {"train_delta", number(run.train_delta, 4)},
                    {"val_loss", number(run.val_loss, 6)},
                    {"val_step", run.val_step},
                    {"val_delta", number(run.val_delta, 4)},
                    {"tokens_per_second", number(run.tokens_per_second, 4)},
                    {"speed_of_light", number(run.speed_of_light, 3)},
                    {"peak_flops", number(data.peak_flops, 4)},
                    {"peak_resident", number(data.peak_resident, 16)},
                    {"memory", number(run.memory_total, 16)},
                    {"wall_seconds", number(run.wall_seconds, 4)},
                    {"window", run.window}};
  out["memory"] = Json::object();
  for (const auto& [category, bytes] : data.memory) out["memory"][category] = number(bytes, 16);
  out["profile_ms"] = Json::object();
  for (const auto& [part, ms] : data.profile_ms) out["profile_ms"][part] = number(ms, 4);
  out["curves"] = {{"loss", to_json(run.loss)},
                   {"smooth", to_json(run.smooth, 6)},
                   {"validation", to_json(run.validation, 6)},
                   {"delta", to_json(run.delta, 4)},
                   {"validation_delta", to_json(run.validation_delta, 4)},
                   {"grad_norm", to_json(run.grad_norm, 4)},
                   {"lr", to_json(run.lr, 4)},
                   {"tokens_per_second", to_json(run.rate, 4)},
                   {"speed_of_light", to_json(run.light, 3)}};
  out["tensors"] = to_json(run.tensors);
  out["missing"] = run.missing;
  out["notes"] = data.notes;
  return out;
}

Json palette() {
  Json out, lines = Json::array(), ramp = Json::array();
  for (const LineColour& colour : kLineColours) lines.push_back({colour.on_light, colour.on_dark});
  constexpr int kSteps = 32;
  for (int i = 0; i <= kSteps; ++i) ramp.push_back(ramp_colour(static_cast<double>(i) / kSteps));
  out["lines"] = lines;
  out["baseline"] = {kBaselineColour.on_light, kBaselineColour.on_dark};
  out["ramp"] = ramp;
  return out;
}

}  // namespace

std::string to_document(const Report& report, const std::map<std::string, std::string>& more) {
  Json out;
  out["schema"] = "octavo-report-1";
  out["version"] = report.version;
  out["created"] = report.created;
  out["palette"] = palette();
  out["formats"] = Json::object();
  for (const auto& [name, f] : report.formats)
    out["formats"][name] = {{"exponent_bits", f.exponent_bits},
                            {"mantissa_bits", f.mantissa_bits},
                            {"max", f.max},
                            {"min_normal", f.min_normal},
                            {"min_subnormal", f.min_subnormal},
                            {"ideal_snr_db", number(f.ideal_snr_db, 4)}};
  out["baseline"] = report.baseline;
  out["runs"] = Json::array();
  for (const RunReport& run : report.runs) out["runs"].push_back(to_json(run));
  for (const auto& [key, value] : more) {
    Json parsed = Json::parse(value, nullptr, false);
    if (parsed.is_discarded()) fail_data("the value of '" + key + "' for the page is not JSON");
    out[key] = std::move(parsed);
  }
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace octavo
