// SPDX-License-Identifier: Apache-2.0
// What stands in a run directory (docs/run-directory.md), as numbers. A run that is still going, an old one,
// or any directory with a tensors.jsonl is fine: what is absent stays empty.
#pragma once
#include <cstdint>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace octavo {

inline constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();

/// A line of metrics.jsonl with "event":"step". A figure that is absent or null is kAbsent.
struct StepLine {
  int64_t step = 0;
  double tokens = kAbsent, loss = kAbsent, lr = kAbsent, grad_norm = kAbsent;
  double tokens_per_second = kAbsent, ms = kAbsent, speed_of_light = kAbsent;
};

struct EvalLine {
  int64_t step = 0;
  double loss = kAbsent;
};

struct TensorId {
  std::string tensor, role, format;
  friend auto operator<=>(const TensorId&, const TensorId&) = default;
};

/// A line of tensors.jsonl.
struct TensorLine {
  int64_t step = 0;
  int id = 0;  ///< into RunData::tensor_ids
  float amax = 0, scale_exponent = 0, underflow = 0, saturation = 0, snr_db = 0;  ///< NaN: null or absent
  int exponent_first = 0;
  std::vector<uint32_t> exponent_counts;  ///< empty in files of older versions
  int64_t zeros = 0;
};

struct RunData {
  std::string path;                           ///< as given
  std::string name;                           ///< last part of the path
  std::map<std::string, std::string> config;  ///< "train.steps" -> "300"
  std::string recipe, description, paper;
  std::vector<std::string> deviations;
  std::map<std::string, std::string> env;  ///< "cpu" -> "..."; texts and numbers of the top level
  double parameters = kAbsent, peak_flops = kAbsent, peak_resident = kAbsent;
  std::map<std::string, double> memory;                    ///< bytes by category
  std::vector<StepLine> steps;                             ///< by step, each once
  std::vector<EvalLine> evals;                             ///< likewise
  std::vector<std::pair<std::string, double>> profile_ms;  ///< mean by part, in the file's order
  std::vector<TensorId> tensor_ids;
  std::vector<TensorLine> tensors;  ///< by step, then by id; the last line of a (step, id) counts
  std::vector<std::string> notes;   ///< sentences for people, for instance about an unfinished last line
};

/// Reads a directory. Throws bad_data naming the file, and the line where there is one, when the directory
/// holds neither metrics.jsonl nor tensors.jsonl, or when a file in it is not what it should be.
RunData read_run(const std::string& path);

/// The two JSON-lines files, for read_run(). `path` is the file.
void read_metrics(const std::string& path, RunData& run);
void read_tensors(const std::string& path, RunData& run);

}  // namespace octavo
