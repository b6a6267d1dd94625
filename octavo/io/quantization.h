// SPDX-License-Identifier: Apache-2.0
// The quantization_config of a Hugging Face config.json: how the FP8 weights of a directory are laid out. In
// both conventions a weight is code * scale, also where the scale's name ends in "_inv". Sources:
// compressed-tensors 0.20 (quantization/quant_args.py, config/base.py), transformers 5.23
// (integrations/finegrained_fp8.py), vLLM (quantization/fp8.py).
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/io/json_file.h"
#include "octavo/tensor/scaled_tensor.h"

namespace octavo {

struct Quantization {
  enum class Convention {
    compressed_tensors,  ///< quant_method "compressed-tensors", format "float-quantized"
    fp8                  ///< quant_method "fp8": DeepSeek's blocks, or one scale a tensor
  };
  /// What a reader does with the input of a quantized layer; octavo computes in the numbers of its recipe.
  enum class Inputs { unquantized, dynamic, static_tensor };

  Convention convention = Convention::compressed_tensors;
  GranularitySpec weights;  ///< tensor, row (one scale for each output) or block
  Inputs inputs = Inputs::dynamic;
  std::vector<std::string> ignore;  ///< modules that keep their type, sorted as given
  std::string source;               ///< for messages

  /// "weight_scale" or "weight_scale_inv".
  std::string_view scale_name() const;
  /// The shape of the scales of a weight [rows, cols]. One scale is [1].
  std::vector<uint64_t> scale_shape(uint64_t rows, uint64_t cols) const;
  /// Whether an entry of `ignore` names the module, its end, or a module around it.
  bool ignores(std::string_view module) const;
  /// True when `ignore` has a regular expression. Those are not interpreted: what is quantized then follows
  /// from the tensors alone.
  bool has_patterns() const;
};

/// Nothing when `config` has no quantization_config. Throws unsupported naming the key and value for every
/// other method, format, number of bits, strategy or target.
std::optional<Quantization> read_quantization(const JsonObject& config);

/// The text of config.json with this quantization_config in it.
std::string with_quantization(const std::string& config_json, const Quantization& quantization);

}  // namespace octavo
