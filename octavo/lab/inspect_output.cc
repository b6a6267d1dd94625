// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "octavo/base/quote_name.h"
#include "octavo/lab/inspect.h"

namespace octavo {
namespace {

using Json = nlohmann::ordered_json;

std::string bytes_text(uint64_t bytes) {
  const double value = static_cast<double>(bytes);
  if (bytes >= uint64_t{1} << 30) return fmt::format("{:.2f} GiB", value / (1 << 30));
  if (bytes >= uint64_t{1} << 20) return fmt::format("{:.1f} MiB", value / (1 << 20));
  if (bytes >= 1 << 10) return fmt::format("{:.1f} KiB", value / (1 << 10));
  return fmt::format("{} B", bytes);
}

std::string shape_text(const std::vector<uint64_t>& shape) {
  std::string text;
  for (const uint64_t n : shape) text += (text.empty() ? "" : ", ") + std::to_string(n);
  return "[" + text + "]";
}

/// A power of two as one, since that is how most scales are chosen.
std::string scale_text(double scale) {
  int exponent = 0;
  if (scale > 0 && std::isfinite(scale) && std::frexp(scale, &exponent) == 0.5)
    return fmt::format("2^{}", exponent - 1);
  return fmt::format("{:.4g}", scale);
}

std::string printable(const std::string& name) {
  const std::string quoted = quote_name(name);
  return quoted.substr(1, quoted.size() - 2);
}

std::string figure(const TensorFacts& t, double value) {
  return t.has_values ? fmt::format("{:.4g}", value) : "-";
}

std::string tensor_table(const std::vector<TensorFacts>& tensors) {
  std::vector<std::vector<std::string>> table{
      {"tensor", "type", "shape", "size", "min", "max", "amax", "std"}};
  for (const TensorFacts& t : tensors)
    table.push_back({printable(t.name), t.dtype, shape_text(t.shape), bytes_text(t.bytes), figure(t, t.min),
                     figure(t, t.max), figure(t, t.amax), figure(t, t.std)});
  std::vector<size_t> widths(table[0].size(), 0);
  for (const auto& row : table)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], row[c].size());
  std::string out;
  for (size_t r = 0; r < table.size(); ++r) {
    std::string line;
    for (size_t c = 0; c < table[r].size(); ++c)
      line += c < 3 ? fmt::format("{:<{}}  ", table[r][c], widths[c])
                    : fmt::format("{:>{}}  ", table[r][c], widths[c]);
    out += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
    if (r == 0) continue;
    const TensorFacts& t = tensors[r - 1];
    if (t.not_finite > 0)
      out += fmt::format("    {} of its {} values are infinite or NaN\n", t.not_finite, t.elements);
    if (!t.occupancy) continue;
    const Occupancy& o = *t.occupancy;
    const std::string scale =
        o.scale_tensor.empty() ? "no scale beside it"
        : o.scale_low == o.scale_high
            ? "scale " + scale_text(o.scale_low)
            : fmt::format("scales {} to {}", scale_text(o.scale_low), scale_text(o.scale_high));
    out +=
        fmt::format("    {}; zeros {:.3g} %, subnormals {:.3g} %, saturated {:.3g} %\n    2^{} |{}| 2^{}\n",
                    scale, 100 * o.zeros, 100 * o.subnormals, 100 * o.saturated, o.first_exponent,
                    sparkline(o.exponents), o.first_exponent + static_cast<int>(o.exponents.size()) - 1);
  }
  return out;
}

struct Total {
  uint64_t tensors = 0, elements = 0, bytes = 0;
};
std::map<std::string, Total> totals(const std::vector<TensorFacts>& tensors) {
  std::map<std::string, Total> out;
  for (const TensorFacts& t : tensors) {
    Total& total = out[t.dtype];
    ++total.tensors;
    total.elements += t.elements;
    total.bytes += t.bytes;
  }
  return out;
}

Json number(double value) { return std::isfinite(value) ? Json(value) : Json(nullptr); }

Json to_json(const TensorFacts& t) {
  Json out{{"name", t.name},         {"file", t.file},   {"dtype", t.dtype},          {"shape", t.shape},
           {"elements", t.elements}, {"bytes", t.bytes}, {"not_finite", t.not_finite}};
  for (const auto& [key, value] :
       {std::pair{"min", t.min}, {"max", t.max}, {"amax", t.amax}, {"mean", t.mean}, {"std", t.std}})
    out[key] = t.has_values ? number(value) : Json(nullptr);
  if (t.occupancy) {
    const Occupancy& o = *t.occupancy;
    out["fp8"] = {
        {"scale_tensor", o.scale_tensor.empty() ? Json(nullptr) : Json(o.scale_tensor)},
        {"scale", o.scale_tensor.empty() ? Json(nullptr) : Json{number(o.scale_low), number(o.scale_high)}},
        {"zeros", o.zeros},
        {"subnormals", o.subnormals},
        {"saturated", o.saturated},
        {"first_exponent", o.first_exponent},
        {"exponents", o.exponents}};
  }
  return out;
}

}  // namespace

std::string sparkline(const std::vector<uint64_t>& counts) {
  static const char* const kBars[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  const uint64_t most = counts.empty() ? 0 : *std::max_element(counts.begin(), counts.end());
  std::string out;
  for (const uint64_t count : counts) {
    if (count == 0) {
      out += ' ';
      continue;
    }
    const double share = static_cast<double>(count) / static_cast<double>(most);
    out += kBars[std::min<size_t>(7, static_cast<size_t>(share * 8))];
  }
  return out;
}

std::string to_text(const Inspection& inspection) {
  std::string out = fmt::format("{}: {}\n", printable(inspection.path), inspection.kind);
  size_t width = 0;
  for (const Fact& fact : inspection.facts) width = std::max(width, fact.key.size());
  for (const Fact& fact : inspection.facts) {
    const std::string value = std::visit(
        [](const auto& v) -> std::string {
          using T = std::decay_t<decltype(v)>;
          if constexpr (std::is_same_v<T, std::string>) return v;
          if constexpr (std::is_same_v<T, bool>) return v ? "yes" : "no";
          if constexpr (std::is_same_v<T, double>) return fmt::format("{:.7g}", v);
          if constexpr (std::is_same_v<T, int64_t>) return fmt::format("{}", v);
        },
        fact.value);
    // Texts of files: no control bytes on the terminal, whatever their length.
    std::string safe = value;
    for (char& c : safe)
      if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
    out += fmt::format("  {:<{}}  {}\n", printable(fact.key), width, safe);
  }
  if (inspection.tensors.empty()) return out;
  out += tensor_table(inspection.tensors);
  for (const auto& [dtype, total] : totals(inspection.tensors))
    out += fmt::format("{:<9} {} tensors, {} elements, {}\n", dtype, total.tensors, total.elements,
                       bytes_text(total.bytes));
  return out;
}

std::string to_json(const Inspection& inspection) {
  Json out{{"schema", "octavo-inspect-1"}, {"path", inspection.path}, {"kind", inspection.kind}};
  out["facts"] = Json::object();
  for (const Fact& fact : inspection.facts) {
    Json& place = out["facts"][fact.key];
    const Json value = std::visit([](const auto& v) { return Json(v); }, fact.value);
    // A fact that occurs several times ("made from") is a list.
    if (place.is_null())
      place = value;
    else if (place.is_array())
      place.push_back(value);
    else
      place = Json::array({place, value});
  }
  out["tensors"] = Json::array();
  for (const TensorFacts& t : inspection.tensors) out["tensors"].push_back(to_json(t));
  out["totals"] = Json::object();
  for (const auto& [dtype, total] : totals(inspection.tensors))
    out["totals"][dtype] = {{"tensors", total.tensors}, {"elements", total.elements}, {"bytes", total.bytes}};
  return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace octavo
