// SPDX-License-Identifier: Apache-2.0
// What the parts of `octavo bench` share: options, timing, output.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "octavo/base/buffer.h"
#include "octavo/kernels/peak.h"
#include "octavo/numerics/format.h"

namespace octavo {

struct BenchOptions {
  int threads = 0, reps = 9;
  bool json = false;
};
void add_bench_options(CLI::App* command, BenchOptions& options);

/// A call and the limit it is held against, measured in turns: limit, call, limit, call, ... A virtual
/// machine changes its speed within seconds; a limit measured once would belong to another machine than the
/// call.
struct BenchTiming {
  double median = 0;  ///< seconds of one call
  double spread = 0;  ///< (max - min) / median over the repetitions
  double total = 0;   ///< seconds of all calls that count
  double limit = 0;   ///< median of the limit, units a second
  double ratio = 0;   ///< median of (work / seconds) / (the higher limit before or after)
};
/// `work`: units of one call. Short calls are repeated within a measurement until it takes 2 ms. The first
/// call does not count; `warm` is called after it.
BenchTiming bench_against(int reps, double work, const std::function<double()>& limit,
                          const std::function<void()>& call, const std::function<void()>& warm = {});

/// The peak of the unit that a variant of GEMM or attention runs on, as a limit; 0 for the reference.
class UnitPeak {
 public:
  UnitPeak(const std::string& variant, ThreadPool& pool);
  double now() { return known_ ? meter_.now() : 0; }
  const char* name() const { return known_ ? to_string(unit_) : "none"; }

 private:
  PeakKind unit_ = PeakKind::fma_fp32;
  bool known_;
  PeakMeter meter_;
};

/// One line on stdout: the JSON object or the text.
void bench_emit(const BenchOptions& options, const nlohmann::ordered_json& line, const std::string& text);

std::vector<std::string> split_list(const std::string& text, char at = ',');
/// Throws usage with the nearest name.
Format bench_format(const std::string& word);
/// Normal random numbers in a format.
Buffer random_matrix(int64_t elements, Format format, uint64_t stream);

void add_bench_kernels(CLI::App& bench);
void add_bench_attention(CLI::App& bench);
void add_bench_model(CLI::App& bench);
void add_bench_optimizer(CLI::App& bench);

}  // namespace octavo
