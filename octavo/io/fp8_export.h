// SPDX-License-Identifier: Apache-2.0
// Models as Hugging Face directories for other programs: linear layers in FP8 with their scales, the rest in
// BF16.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>

#include "octavo/base/thread_pool.h"
#include "octavo/io/quantization.h"
#include "octavo/recipe/recipe.h"

namespace octavo {

enum class ExportFormat {
  compressed_tensors,  ///< one scale a tensor or a row of weights, as the recipe has it
  fp8_block,           ///< one scale for 128 x 128 weights, DeepSeek's convention
  bf16                 ///< no quantization; the recipe is not looked at
};

struct ExportOptions {
  ExportFormat format = ExportFormat::compressed_tensors;
  /// compressed_tensors: instead of the recipe's granularity.
  std::optional<Granularity> granularity = std::nullopt;
  /// compressed_tensors: what is not quantized keeps the bits the recipe computes with (vectors F32, matrices
  /// in its wide format), so that octavo gives the bits of the original. Else BF16.
  bool as_computed = false;
};

struct ExportSummary {
  int64_t quantized = 0, kept = 0;  ///< tensors
  uint64_t bytes = 0, bytes_in_bf16 = 0;
  /// What the quantized weights lost: the worst of them.
  double worst_snr_db = std::numeric_limits<double>::infinity(), worst_underflow = 0;
  std::string worst_snr_tensor, worst_underflow_tensor;
  std::optional<Quantization> quantization;
};

/// Writes model.safetensors and config.json of the model in `source` into `directory`, which exists, and then
/// opens them again as a reader would (WeightSource). Codes and scales of every linear layer but the head are
/// what the recipe makes of gemm.fprop.weight: for scales per tensor the very numbers octavo computes with.
/// Delayed scaling takes the scale of its first step. Inputs are dynamic where the recipe chooses their scale
/// from data, static with input_scale where it is constant, unquantized where they are BF16 or FP32. Layers
/// the recipe keeps high go to the ignore list. Throws unsupported with the reason: a GPT-2 model, a recipe
/// without E4M3 (OCP) weights, a scaling rule that needs more than the weights, shapes that readers of the
/// format refuse. bad_data for weights that are not finite.
ExportSummary export_model(const std::string& source, const std::string& directory, const Recipe& recipe,
                           const ExportOptions& options, ThreadPool& pool);

}  // namespace octavo
