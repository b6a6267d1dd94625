// SPDX-License-Identifier: Apache-2.0
// The weights of a Hugging Face directory as octavo's parameters, whatever they are stored in.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "octavo/io/quantized_weights.h"
#include "octavo/nn/model_config.h"

namespace octavo {

/// The shape a parameter has in a file.
std::vector<uint64_t> disk_shape(const Parameter& parameter);
/// out[cols, rows] of in[rows, cols].
void transpose(const float* in, int64_t rows, int64_t cols, float* out);

class WeightSource {
 public:
  /// Opens model.safetensors or the shards of `directory` and checks that every parameter is there with its
  /// shape, that no tensor is left over, and the structure of FP8 weights (check_quantized_weights). Throws
  /// bad_data naming file and tensor; unsupported for FP8 weights in a GPT-2 model. `parameters` must outlive
  /// this.
  WeightSource(const std::string& directory, const ModelConfig& config, const ParameterSet& parameters);

  /// Values [rows, cols] in FP32: exact for F32, BF16 and F16, code * scale for FP8.
  void read(const Parameter& parameter, std::vector<float>& out) const;
  const std::optional<Quantization>& quantization() const { return quantization_; }

 private:
  TensorDirectory files_;
  std::optional<Quantization> quantization_;
  std::vector<StoredParameter> stored_;
  std::map<const Parameter*, size_t> index_;
};

}  // namespace octavo
