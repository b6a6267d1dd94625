// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/axis_values.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"

namespace octavo {
namespace {

std::optional<double> number_in(const std::string& text) {
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value)) return {};
  return value;
}

/// -9 of "2^-9".
std::optional<double> exponent_in(const std::string& text) {
  if (!text.starts_with("2^")) return {};
  return number_in(text.substr(2));
}

bool is_whole(double value) { return value == std::floor(value); }

AxisValue power(const std::string& key, KeyType type, double exponent, const std::string& source) {
  const std::string label = fmt::format("2^{}", exponent);
  if (type == KeyType::whole) {
    if (!is_whole(exponent) || exponent < 0 || exponent > 62)
      fail_usage(fmt::format("{}: {} takes whole numbers, {} is none", source, key, label));
    return {label, {{key, fmt::format("{}", int64_t{1} << static_cast<int>(exponent)), source}}};
  }
  const double value = std::exp2(exponent);
  if (!std::isnormal(value)) fail_usage(fmt::format("{}: {} is no number that {} takes", source, label, key));
  return {label, {{key, fmt::format("{}", value), source}}};
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    std::string part = text.substr(begin, end - begin);
    part.erase(0, std::min(part.find_first_not_of(' '), part.size()));
    part.erase(part.find_last_not_of(' ') + 1);
    parts.push_back(std::move(part));
    begin = end + 1;
  }
  return parts;
}

std::vector<AxisValue> parse_values(const std::string& key, const std::string& text,
                                    const std::string& source) {
  if (const std::string why = reserved_key(key); !why.empty()) fail_usage(source + ": " + why);
  if (key_type(key) == KeyType::unknown)
    fail_usage(fmt::format("{}: '{}' is no key of a run{}", source, key, did_you_mean(key, run_keys())));
  std::vector<AxisValue> values;
  for (const std::string& part : split(text, ',')) {
    if (part.empty()) fail_usage(fmt::format("{}: {} has an empty value; write {}=A,B", source, key, key));
    for (AxisValue& value : expand_value(key, part, source)) values.push_back(std::move(value));
  }
  return values;
}

/// 0.5 and 2^-1 have different names and would be trained twice.
void require_different(const Axis& axis, const std::string& source) {
  for (size_t b = 1; b < axis.values.size(); ++b)
    for (size_t a = 0; a < b; ++a) {
      const Setting &one = axis.values[a].settings.front(), &other = axis.values[b].settings.front();
      const std::optional<double> x = number_in(one), y = number_in(other);
      if (x && y ? *x == *y : one.value == other.value)
        fail_usage(fmt::format("{}: {} has the value {} twice ({}, {})", source, axis.name, one.value,
                               axis.values[a].label, axis.values[b].label));
    }
}

}  // namespace

const std::vector<std::string>& run_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> names;
    for (const ConfigKey& key : config_keys(RunConfig{})) names.push_back(key.key);
    return names;
  }();
  return keys;
}

KeyType key_type(const std::string& key) {
  for (const ConfigKey& known : config_keys(RunConfig{}))
    if (known.key == key)
      return known.type == "integer"  ? KeyType::whole
             : known.type == "number" ? KeyType::number
                                      : KeyType::other;
  return KeyType::unknown;
}

std::optional<double> number_in(const Setting& setting) { return number_in(setting.value); }

std::optional<double> axis_number(const Axis& axis, const AxisValue& value) {
  const KeyType type = key_type(axis.name);
  if (type != KeyType::whole && type != KeyType::number) return {};
  for (const Setting& s : value.settings)
    if (s.key == axis.name) return number_in(s);
  return {};
}

std::vector<AxisValue> expand_value(const std::string& key, const std::string& value,
                                    const std::string& source) {
  const KeyType type = key_type(key);
  const bool numeric = type == KeyType::whole || type == KeyType::number;
  const size_t dots = value.find("..");
  if (numeric && dots != std::string::npos) {
    const auto low = exponent_in(value.substr(0, dots)), high = exponent_in(value.substr(dots + 2));
    if (!low || !high || !is_whole(*low) || !is_whole(*high))
      fail_usage(fmt::format("{}: {} = {}: a range is of powers of two with whole exponents, 2^-11..2^-6",
                             source, key, value));
    if (*low > *high)
      fail_usage(fmt::format("{}: {} = {}: a range runs from the lower end, 2^{}..2^{}", source, key, value,
                             *high, *low));
    if (*high - *low >= 1000) fail_usage(fmt::format("{}: {} = {} has too many values", source, key, value));
    std::vector<AxisValue> values;
    for (double e = *low; e <= *high; ++e) values.push_back(power(key, type, e, source));
    return values;
  }
  if (numeric)
    if (const auto exponent = exponent_in(value)) return {power(key, type, *exponent, source)};
  return {{value, {{key, value, source}}}};
}

Axis parse_axis(const std::string& text, const std::string& source) {
  Axis axis;
  for (const std::string& part : split(text, ';')) {
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0)
      fail_usage(fmt::format("{} {}: expected KEY=VALUES, for instance optim.lr=2^-11..2^-6", source, text));
    const std::string key = part.substr(0, equals);
    std::vector<AxisValue> values = parse_values(key, part.substr(equals + 1), source);
    if (axis.name.empty()) {
      axis = {key, std::move(values)};
      require_different(axis, source);
      continue;
    }
    if (values.size() != axis.values.size())
      fail_usage(fmt::format("{}: {} has {} values and {} has {}; keys that move together need as many",
                             source, axis.name, axis.values.size(), key, values.size()));
    for (size_t i = 0; i < values.size(); ++i) {
      for (const Setting& s : axis.values[i].settings)
        if (s.key == key) fail_usage(fmt::format("{}: {} stands there twice", source, key));
      axis.values[i].settings.push_back(values[i].settings.front());
    }
  }
  return axis;
}

}  // namespace octavo
