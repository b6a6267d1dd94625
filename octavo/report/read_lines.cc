// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/json_parse.h"
#include "octavo/base/quote_name.h"
#include "octavo/report/run_data.h"

namespace octavo {
namespace {

using nlohmann::json;

/// One object of a JSON-lines file and where it stands.
class Line {
 public:
  Line(json object, std::string source) : object_(std::move(object)), source_(std::move(source)) {
    if (!object_.is_object())
      fail_data(fmt::format("'{}': the line is {}, expected an object", source_, object_.type_name()));
  }

  const json* find(const char* key) const {
    const auto found = object_.find(key);
    return found == object_.end() || found->is_null() ? nullptr : &*found;
  }
  double number(const char* key) const {
    const json* value = find(key);
    if (!value) return kAbsent;
    if (!value->is_number()) fail(key, *value, "a number");
    return value->get<double>();
  }
  float small(const char* key) const { return static_cast<float>(number(key)); }
  int64_t whole(const char* key, int64_t low, int64_t high) const {
    const json* value = find(key);
    if (!value) fail_data(fmt::format("'{}': key '{}' is missing", source_, key));
    if (!value->is_number_integer()) fail(key, *value, "a whole number");
    // 2^64 - 1 would come back as -1, which is in range for no key here.
    const int64_t result = value->get<int64_t>();
    if (result < low || result > high)
      fail_data(
          fmt::format("'{}': key '{}' is {}, expected {} to {}", source_, key, value->dump(), low, high));
    return result;
  }
  std::string text(const char* key) const {
    const json* value = find(key);
    if (!value) fail_data(fmt::format("'{}': key '{}' is missing", source_, key));
    if (!value->is_string()) fail(key, *value, "a string");
    return value->get<std::string>();
  }
  [[noreturn]] void fail(const char* key, const json& value, const char* expected) const {
    fail_data(fmt::format("'{}': key '{}' is {}, expected {}", source_, key, value.type_name(), expected));
  }

 private:
  json object_;
  std::string source_;
};

constexpr float kLargestExponent = 150;
constexpr int64_t kLastStep = int64_t{1} << 53;  // whole numbers of a browser end there

/// Calls `take` for every line. A last line without its end was being written when the run stopped: it is
/// left out and noted.
void each_line(const std::string& path, RunData& run, const std::function<void(const Line&)>& take) {
  const std::string text = read_file(path);
  int64_t number = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    ++number;
    if (end == std::string::npos) {
      run.notes.push_back(fmt::format("The last line of {} is unfinished and was left out.",
                                      std::filesystem::path(path).filename().string()));
      return;
    }
    if (end > at) {
      const std::string source = fmt::format("{}:{}", path, number);
      take(Line(parse_json(std::string_view(text).substr(at, end - at), source), source));
    }
    at = end + 1;
  }
}

/// Sorted by `key`; of equal ones the last read stays.
template <class T, class Key>
void sort_unique(std::vector<T>& lines, Key key) {
  std::stable_sort(lines.begin(), lines.end(), [&](const T& a, const T& b) { return key(a) < key(b); });
  size_t kept = 0;
  for (size_t i = 0; i < lines.size(); ++i) {
    if (kept > 0 && key(lines[kept - 1]) == key(lines[i]))
      lines[kept - 1] = std::move(lines[i]);
    else if (kept++ != i)
      lines[kept - 1] = std::move(lines[i]);
  }
  lines.resize(kept);
}

}  // namespace

void read_metrics(const std::string& path, RunData& run) {
  std::map<std::string, double> sums;
  std::vector<std::string> order;
  int64_t profiled = 0;
  each_line(path, run, [&](const Line& line) {
    const json* event = line.find("event");
    if (!event) return;  // fields and events may be added
    if (*event == "eval") {
      run.evals.push_back({line.whole("step", 0, kLastStep), line.number("loss")});
    } else if (*event == "step") {
      StepLine step;
      step.step = line.whole("step", 0, kLastStep);
      step.tokens = line.number("tokens");
      step.loss = line.number("loss");
      step.lr = line.number("lr");
      step.grad_norm = line.number("grad_norm");
      step.tokens_per_second = line.number("tokens_per_second");
      step.ms = line.number("ms");
      step.speed_of_light = line.number("speed_of_light");
      run.steps.push_back(step);
      if (const json* profile = line.find("profile_ms")) {
        if (!profile->is_object()) line.fail("profile_ms", *profile, "an object");
        ++profiled;
        for (const auto& [part, ms] : profile->items()) {
          if (!ms.is_number()) line.fail("profile_ms", ms, "numbers only");
          if (sums.try_emplace(part, 0.0).second) order.push_back(part);
          sums[part] += ms.get<double>();
        }
      }
    }
  });
  for (const std::string& part : order)
    run.profile_ms.emplace_back(part, sums[part] / static_cast<double>(profiled));
  std::stable_sort(run.profile_ms.begin(), run.profile_ms.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  sort_unique(run.steps, [](const StepLine& l) { return l.step; });
  sort_unique(run.evals, [](const EvalLine& l) { return l.step; });
}

void read_tensors(const std::string& path, RunData& run) {
  std::map<TensorId, int> ids;
  each_line(path, run, [&](const Line& line) {
    const TensorId id{line.text("tensor"), line.text("role"), line.text("format")};
    TensorLine record;
    record.step = line.whole("step", 0, kLastStep);
    record.id = ids.try_emplace(id, static_cast<int>(ids.size())).first->second;
    if (static_cast<size_t>(record.id) == run.tensor_ids.size()) run.tensor_ids.push_back(id);
    record.amax = line.small("amax");
    record.scale_exponent = line.small("scale_exponent");
    if (std::fabs(record.scale_exponent) > kLargestExponent)
      line.fail("scale_exponent", *line.find("scale_exponent"), "a power of two of FP32, -150 to 150");
    record.underflow = line.small("underflow");
    record.saturation = line.small("saturation");
    record.snr_db = line.small("snr_db");
    if (const json* counts = line.find("exponent_counts")) {
      if (!counts->is_array() || counts->size() > 254)
        line.fail("exponent_counts", *counts, "an array of at most 254 counts");
      for (const json& count : *counts) {
        if (!count.is_number_unsigned()) line.fail("exponent_counts", count, "whole numbers from 0 on");
        record.exponent_counts.push_back(
            static_cast<uint32_t>(std::min<uint64_t>(count.get<uint64_t>(), UINT32_MAX)));
      }
      record.exponent_first = static_cast<int>(line.whole("exponent_first", -126, 127));
      record.zeros = line.whole("zeros", 0, INT64_MAX);
    }
    run.tensors.push_back(std::move(record));
  });
  sort_unique(run.tensors, [](const TensorLine& l) { return std::pair(l.step, l.id); });
}

}  // namespace octavo
