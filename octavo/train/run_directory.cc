// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/run_directory.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "octavo/base/cpu.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/version.h"
#include "octavo/kernels/gemm.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

std::string now(const char* format) {
  const std::time_t time = std::time(nullptr);
  return fmt::format(fmt::runtime("{:" + std::string(format) + "}"), fmt::localtime(time));
}

nlohmann::ordered_json environment(int threads, const std::string& started) {
  nlohmann::ordered_json j;
  j["version"] = version();
  j["commit"] = commit();
  j["compiler"] = compiler();
  j["cpu"] = cpu_name();
  j["isa"] = to_string(max_isa());
  j["threads"] = threads;
  j["started"] = started;
  return j;
}

}  // namespace

LineWriter::LineWriter(const std::string& path) : file_(std::fopen(path.c_str(), "ae")), path_(path) {
  if (!file_) fail_errno("cannot open", path);
}
LineWriter::~LineWriter() {
  if (file_) std::fclose(file_);
}
LineWriter::LineWriter(LineWriter&& other) noexcept { *this = std::move(other); }
LineWriter& LineWriter::operator=(LineWriter&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(path_, other.path_);
  return *this;
}
void LineWriter::line(const std::string& text) {
  if (std::fputs(text.c_str(), file_) < 0 || std::fputc('\n', file_) < 0 || std::fflush(file_) != 0)
    fail_errno("cannot write", path_);
}

std::string default_run_name(const RunConfig& config) {
  std::string recipe = fs::path(config.recipe).stem().string();
  return fmt::format("runs/{}-{}-{}", now("%Y-%m-%dT%H%M%S"),
                     config.preset.empty() ? config.model.family : config.preset, recipe);
}

void truncate_lines_after(const std::string& path, int64_t step) {
  if (!fs::exists(path)) return;
  const std::string text = read_file(path);
  std::string kept;
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at);
    if (end == std::string::npos) break;
    const nlohmann::json line =
        nlohmann::json::parse(text.begin() + static_cast<std::ptrdiff_t>(at),
                              text.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (line.is_object() && line.contains("step") && line["step"].is_number() &&
        line["step"].get<int64_t>() <= step)
      kept.append(text, at, end + 1 - at);
    at = end + 1;
  }
  if (kept.size() != text.size()) write_file_atomic(path, kept);
}

void RunDirectory::begin(int threads) {
  threads_ = threads;
  started_ = now("%Y-%m-%dT%H:%M:%S%z");
  write_file_atomic(path_ + "/env.json", environment(threads_, started_).dump(2) + "\n");
}

void RunDirectory::open() {
  metrics = LineWriter(path_ + "/metrics.jsonl");
  tensors = LineWriter(path_ + "/tensors.jsonl");
  log = LineWriter(path_ + "/log.txt");
}

void RunDirectory::write_facts(const RunFacts& facts) const {
  nlohmann::ordered_json j = environment(threads_, started_);
  j["model"] = facts.model;
  j["parameters"] = facts.parameters;
  j["gemm_variant"] = facts.gemm_variant;
  if (facts.peak_flops > 0) j["peak_flops"] = facts.peak_flops;
  for (const auto& [category, bytes] : facts.memory) j["memory"][category] = bytes;
  if (facts.peak_resident > 0) j["peak_resident"] = facts.peak_resident;
  write_file_atomic(path_ + "/env.json", j.dump(2) + "\n");
}

RunDirectory RunDirectory::create(const RunConfig& config, const std::string& recipe_text, int threads) {
  RunDirectory run;
  run.path_ = config.out;
  if (fs::exists(run.path_ + "/config.toml"))
    fail_usage(fmt::format("'{}' holds a run already: continue it with --resume {}, or choose another --out",
                           run.path_, run.path_));
  if (fs::exists(run.path_) && !fs::is_directory(run.path_))
    fail_usage(fmt::format("--out '{}' is a file", run.path_));
  std::error_code error;
  fs::create_directories(run.path_ + "/checkpoints", error);
  if (error) fail_data(fmt::format("cannot create '{}': {}", run.path_, error.message()));
  write_file_atomic(run.path_ + "/recipe.toml", recipe_text);
  run.begin(threads);
  write_file_atomic(run.path_ + "/config.toml", to_toml(config));
  run.open();
  return run;
}

RunDirectory RunDirectory::reopen(const RunConfig& config, int64_t step, int threads) {
  RunDirectory run;
  run.path_ = config.out;
  truncate_lines_after(run.path_ + "/metrics.jsonl", step);
  truncate_lines_after(run.path_ + "/tensors.jsonl", step);
  run.begin(threads);
  write_file_atomic(run.path_ + "/config.toml", to_toml(config));
  run.open();
  return run;
}

}  // namespace octavo
