// SPDX-License-Identifier: Apache-2.0
// What the parts of `octavo bench` share: options, timing, output.
#pragma once
#include <CLI/CLI.hpp>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "octavo/base/buffer.h"
#include "octavo/numerics/format.h"

namespace octavo {

struct BenchOptions {
  int threads = 0, reps = 9;
  bool json = false;
};
void add_bench_options(CLI::App* command, BenchOptions& options);

/// Seconds of one call: median and (max - min) / median over `reps`, after one call that does not count.
/// Short calls are repeated within a measurement until it takes 2 ms. `total`: of all calls that count;
/// `warm` is called once before them.
struct BenchTiming {
  double median = 0, spread = 0, total = 0;
};
BenchTiming bench_measure(int reps, const std::function<void()>& call,
                          const std::function<void()>& warm = {});

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

}  // namespace octavo
