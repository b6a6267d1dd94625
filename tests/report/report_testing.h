// SPDX-License-Identifier: Apache-2.0
// Run directories made of text, and runs made of numbers.
#pragma once
#include <fmt/format.h>

#include <cmath>

#include "cli/run_octavo.h"
#include "octavo/base/error.h"
#include "octavo/report/report.h"

namespace octavo {

inline std::string step_line(int64_t step, double loss, const std::string& more = "") {
  return fmt::format(
             R"({{"event":"step","step":{},"tokens":{},"loss":{},"lr":0.001,"grad_norm":1.5,"tokens_per_second":1000,"ms":64,"speed_of_light":0.5{}}})",
             step, step * 64, loss, more) +
         "\n";
}

inline std::string eval_line(int64_t step, double loss) {
  return fmt::format(R"({{"event":"eval","step":{},"loss":{},"perplexity":1,"tokens":64}})", step, loss) +
         "\n";
}

inline std::string tensor_line(int64_t step, const std::string& tensor, const std::string& role, int scale,
                               const std::string& counts = "[1,20,300]") {
  return fmt::format(
             R"({{"step":{},"tensor":"{}","role":"{}","format":"{}","amax":0.5,"scale_exponent":{},"underflow":0.01,"saturation":0,"snr_db":31.5,"zeros":2,"exponent_first":-9,"exponent_counts":{}}})",
             step, tensor, role, role == "gemm.grad_output" ? "e5m2" : "e4m3", scale, counts) +
         "\n";
}

/// A directory runs/<name> with the given files.
inline std::string make_run(const TemporaryDirectory& directory, const std::string& name,
                            const std::map<std::string, std::string>& files) {
  const std::string path = directory / name;
  fs::create_directories(path);
  for (const auto& [file, text] : files) spill(path + "/" + file, text);
  return path;
}

/// A run of `steps` steps and `layers` blocks with every kind of tensor, logged every `every` steps.
inline RunData synthetic_run(const std::string& name, int64_t steps, int layers, int64_t every,
                             double offset = 0) {
  RunData run;
  run.path = run.name = name;
  run.recipe = "fp8-amax";
  run.memory = {{"weights", 1e6}, {"optimizer", 2e6}};
  for (int64_t s = 1; s <= steps; ++s) {
    StepLine line;
    line.step = s;
    line.tokens = static_cast<double>(s * 64);
    line.loss = 3 + 4 / std::sqrt(static_cast<double>(s)) + 0.1 * std::sin(static_cast<double>(s)) + offset;
    line.grad_norm = line.tokens_per_second = line.speed_of_light = line.lr = line.ms =
        1 + 0.1234567 * std::cos(static_cast<double>(s));
    run.steps.push_back(line);
    if (s % 50 == 0) run.evals.push_back({s, line.loss + 0.2});
  }
  for (int layer = 0; layer < layers; ++layer)
    for (const char* kind : {"attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"})
      for (const char* role : {"gemm.weight", "gemm.input", "gemm.grad_output"})
        run.tensor_ids.push_back({fmt::format("transformer.h.{}.{}", layer, kind), role,
                                  std::string(role) == "gemm.grad_output" ? "e5m2" : "e4m3"});
  for (int64_t s = 1; s <= steps; s += every)
    for (size_t id = 0; id < run.tensor_ids.size(); ++id) {
      TensorLine line;
      line.step = s;
      line.id = static_cast<int>(id);
      const float wave = static_cast<float>(std::sin(static_cast<double>(s) + static_cast<double>(id)));
      line.amax = 0.123456f + 0.01f * wave;
      line.scale_exponent = std::round(-12 + 3 * wave);
      line.underflow = 1.23456e-4f * (1 + wave);
      line.saturation = 0;
      line.snr_db = 31 + wave;
      line.exponent_first = -30;
      for (uint32_t e = 0; e < 28; ++e) line.exponent_counts.push_back(100000 + e * 777);
      run.tensors.push_back(line);
    }
  return run;
}

}  // namespace octavo
