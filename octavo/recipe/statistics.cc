// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/statistics.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>
#include <utility>

namespace octavo {
namespace {

// Biased exponents of FP32's normal numbers; 0 is zeros and subnormals, 255 infinities and NaNs.
constexpr int kFirst = 1, kLast = 254, kBias = 127;

std::string json_number(double value) { return std::isfinite(value) ? fmt::format("{}", value) : "null"; }

std::string json_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

double share(int64_t part, int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0.0;
}

}  // namespace

double underflow_share(const QuantizeStats& stats) { return share(stats.underflow, stats.nonzero); }

double saturation_share(const QuantizeStats& stats) { return share(stats.saturated, stats.count); }

double snr_db(const QuantizeStats& stats) {
  if (!(stats.signal > 0)) return std::numeric_limits<double>::quiet_NaN();
  if (stats.noise == 0) return std::numeric_limits<double>::infinity();
  return 10 * std::log10(stats.signal / stats.noise);
}

ExponentSummary exponent_summary(const QuantizeStats& stats) {
  ExponentSummary out;
  for (int e = kFirst; e <= kLast; ++e) out.count += stats.exponents[e];
  if (out.count == 0) return out;
  // The exponent of the element of that rank, 0 the smallest.
  const auto at = [&](int64_t rank) {
    int64_t below = 0;
    for (int e = kFirst; e < kLast; ++e) {
      below += stats.exponents[e];
      if (rank < below) return e - kBias;
    }
    return kLast - kBias;
  };
  const int64_t last = out.count - 1;
  out.lowest = at(0);
  out.p01 = at(static_cast<int64_t>(0.01 * static_cast<double>(last)));
  out.median = at(last / 2);
  out.p99 = at(static_cast<int64_t>(std::ceil(0.99 * static_cast<double>(last))));
  out.highest = at(last);
  return out;
}

void fill_record(TensorRecord& record, const QuantizeStats& stats, float scale) {
  record.underflow = underflow_share(stats);
  record.saturation = saturation_share(stats);
  record.snr_db = snr_db(stats);
  record.scale_exponent = std::log2(static_cast<double>(scale));
  record.zeros = stats.exponents[0];
  record.exponent_counts.clear();
  const auto empty = [&](int e) { return stats.exponents[e] == 0; };
  int first = kFirst, last = kLast;
  while (first <= last && empty(first)) ++first;
  while (last >= first && empty(last)) --last;
  if (first > last) return;
  record.exponent_first = first - kBias;
  record.exponent_counts.assign(stats.exponents + first, stats.exponents + last + 1);
}

void fill_record(TensorRecord& record, const QuantizeStats& stats, std::span<const float> scales) {
  std::vector<float> sorted(scales.begin(), scales.end());
  std::sort(sorted.begin(), sorted.end());
  fill_record(record, stats, sorted.back());
  record.scales = static_cast<int64_t>(sorted.size());
  record.median_scale_exponent = std::log2(static_cast<double>(sorted[(sorted.size() - 1) / 2]));
}

std::string to_json(const TensorRecord& record) {
  const std::string many = record.scales == 1
                               ? ""
                               : fmt::format("\"scales\":{},\"median_scale_exponent\":{},", record.scales,
                                             json_number(record.median_scale_exponent));
  std::string more;
  for (const auto& [key, value] :
       {std::pair{"mu", record.mu}, {"at_largest", record.at_largest}, {"update_amax", record.update_amax}})
    if (value) more += fmt::format(",\"{}\":{}", key, json_number(*value));
  return fmt::format(
      "{{\"step\":{},\"tensor\":{},\"role\":{},\"format\":{},\"amax\":{},\"scale_exponent\":{},{}"
      "\"underflow\":{},"
      "\"saturation\":{},\"snr_db\":{},\"zeros\":{},\"exponent_first\":{},\"exponent_counts\":[{}]{}}}",
      record.step, json_string(record.tensor), json_string(record.role), json_string(record.format),
      json_number(record.amax), json_number(record.scale_exponent), many, json_number(record.underflow),
      json_number(record.saturation), json_number(record.snr_db), record.zeros, record.exponent_first,
      fmt::join(record.exponent_counts, ","), more);
}

}  // namespace octavo
