// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/rng.h"
#include "octavo/base/stopwatch.h"
#include "octavo/base/suggest.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void add_bench_options(CLI::App* c, BenchOptions& o) {
  c->add_option("--threads", o.threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_option("--reps", o.reps, "Measurements, of which the median is printed")
      ->capture_default_str()
      ->check(CLI::Range(1, 10000));
  c->add_flag("--json", o.json, "One JSON object a line");
}

BenchTiming bench_against(int reps, double work, const std::function<double()>& limit,
                          const std::function<void()>& call, const std::function<void()>& warm) {
  Stopwatch watch;
  call();
  const int inner = std::max(1, static_cast<int>(2e-3 / std::max(1e-7, watch.seconds())));
  if (warm) warm();
  std::vector<double> seconds, limits, ratios;
  BenchTiming timing;
  double before = limit();
  for (int i = 0; i < reps; ++i) {
    watch.restart();
    for (int k = 0; k < inner; ++k) call();
    const double elapsed = watch.seconds(), after = limit(), highest = std::max(before, after);
    timing.total += elapsed;
    seconds.push_back(elapsed / inner);
    limits.push_back(highest);
    ratios.push_back(highest > 0 ? work / seconds.back() / highest : 0);
    before = after;
  }
  timing.median = median(seconds);
  timing.limit = median(limits);
  timing.ratio = median(ratios);
  const auto [least, most] = std::minmax_element(seconds.begin(), seconds.end());
  timing.spread = (*most - *least) / timing.median;
  return timing;
}

UnitPeak::UnitPeak(const std::string& variant, ThreadPool& pool)
    : known_(gemm_peak_kind(variant, unit_)), meter_(unit_, pool) {}

void bench_emit(const BenchOptions& options, const nlohmann::ordered_json& line, const std::string& text) {
  fmt::print("{}\n", options.json ? line.dump() : text);
  std::fflush(stdout);
}

std::vector<std::string> split_list(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, at);)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

Format bench_format(const std::string& word) {
  if (const auto format = format_from_string(word)) return *format;
  fail_usage(
      fmt::format("unknown format '{}'{}", word,
                  did_you_mean(word, {"e4m3", "e5m2", "e4m3fnuz", "e5m2fnuz", "bf16", "fp16", "fp32"})));
}

Buffer random_matrix(int64_t elements, Format format, uint64_t stream) {
  Buffer buffer(static_cast<size_t>(elements * bytes(format)));
  const Rng rng(1, stream);
  // A table of numbers is enough: no kernel looks at values, and drawing millions would take longer than
  // multiplying them.
  constexpr size_t kTable = 8191;
  std::vector<float> table(kTable);
  for (size_t i = 0; i < kTable; ++i) table[i] = static_cast<float>(rng.normal(i));
  for (int64_t i = 0; i < elements; ++i) {
    const float x = table[static_cast<size_t>(i) % kTable];
    if (format == Format::fp32)
      buffer.as<float>()[i] = x;
    else if (format == Format::bf16)
      buffer.as<uint16_t>()[i] = bf16_from_float(x);
    else if (format == Format::fp16)
      buffer.as<uint16_t>()[i] = encode<Format::fp16>(x, Rounding::nearest_even, Overflow::saturate);
    else
      buffer.as<uint8_t>()[i] =
          static_cast<uint8_t>(encode(format, x, Rounding::nearest_even, Overflow::saturate));
  }
  return buffer;
}

void add_bench(CLI::App& app) {
  CLI::App* c = app.add_subcommand(
      "bench", "Measure kernels and whole steps against the machine's limits, in one process");
  c->require_subcommand(1);
  c->footer(
      "Examples:\n  octavo bench gemm\n  octavo bench cast --types bf16:e5m2 --json\n  octavo bench step "
      "--preset gpt-small");
  add_bench_kernels(*c);
  add_bench_attention(*c);
  add_bench_model(*c);
  add_bench_optimizer(*c);
}

}  // namespace octavo
