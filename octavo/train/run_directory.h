// SPDX-License-Identifier: Apache-2.0
// runs/NAME: config.toml env.json metrics.jsonl tensors.jsonl log.txt checkpoints/ final/
// (docs/run-directory.md).
#pragma once
#include <cstdint>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

#include "octavo/recipe/statistics.h"
#include "octavo/train/run_config.h"

namespace octavo {

/// A text file of lines that is appended to and flushed line by line.
class LineWriter {
 public:
  LineWriter() = default;
  explicit LineWriter(const std::string& path);
  ~LineWriter();
  LineWriter(LineWriter&& other) noexcept;
  LineWriter& operator=(LineWriter&& other) noexcept;
  /// Throws bad_data when the disk is full.
  void line(const std::string& text);

 private:
  std::FILE* file_ = nullptr;
  std::string path_;
};

/// What only the program that runs knows, for env.json.
struct RunFacts {
  std::string model;  ///< "gpt2, 4 x 192, 2.6M parameters"
  int64_t parameters = 0;
  std::string gemm_variant;
  double peak_flops = 0;                 ///< 0: not measured
  std::map<std::string, size_t> memory;  ///< bytes by category, as allocated
  int64_t peak_resident = 0;             ///< bytes; 0 until the run ends
};

class RunDirectory {
 public:
  /// A new directory with config.toml and env.json, or (resume) the existing one with metrics and tensor
  /// lines after `step` cut off. A directory that holds a run already is a usage error that names --resume.
  static RunDirectory create(const RunConfig& config, const std::string& recipe_text, int threads);
  static RunDirectory reopen(const RunConfig& config, int64_t step, int threads);

  /// Writes env.json again, with these facts in it.
  void write_facts(const RunFacts& facts) const;

  const std::string& path() const { return path_; }
  LineWriter metrics, tensors, log;

 private:
  void begin(int threads);
  void open();
  std::string path_, started_;
  int threads_ = 0;
};

/// "runs/2026-11-21T2330-gpt-mini-fp8-amax".
std::string default_run_name(const RunConfig& config);

/// Keeps the lines of a JSON-lines file whose "step" is at most `step` (and an unfinished last line not at
/// all).
void truncate_lines_after(const std::string& path, int64_t step);

}  // namespace octavo
