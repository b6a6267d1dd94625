// SPDX-License-Identifier: Apache-2.0
// FP8 weights of a directory: that they are what its quantization_config says, and back to FP32.
#pragma once
#include <string>
#include <vector>

#include "octavo/io/quantization.h"
#include "octavo/io/tensor_directory.h"
#include "octavo/nn/parameter.h"

namespace octavo {

/// A parameter of the model and where its values are stored.
struct StoredParameter {
  const Parameter* parameter = nullptr;
  const TensorInfo* tensor = nullptr;
  const TensorInfo* scale = nullptr;  ///< of an FP8 weight
};

/// True for the matrix of a linear layer, the head included: what a quantization_config speaks of.
bool is_linear_weight(const Parameter& parameter);
/// "model.layers.0.mlp.up_proj" of "model.layers.0.mlp.up_proj.weight".
std::string module_of(const std::string& tensor);

/// The structure of a quantized directory: every linear layer is FP8 unless ignored and plain if it is; each
/// FP8 weight is F8_E4M3 and has its scale with the right type (F32, BF16, F16) and shape and positive finite
/// values, and an input_scale exactly where inputs are static; no scale without its weight, no other 8-bit
/// tensor. Throws bad_data naming the tensor. Sets `scale` of each FP8 weight; returns the names of all
/// scales.
std::vector<std::string> check_quantized_weights(const TensorDirectory& files,
                                                 const Quantization& quantization,
                                                 std::vector<StoredParameter>& parameters);

/// out[rows * cols] = code * scale, each product rounded once to FP32. Throws bad_data for a NaN code.
void dequantize_weight(const StoredParameter& stored, const Quantization& quantization, float* out);

/// The elements of a tensor of type F32, BF16 or F16 as FP32; throws unsupported for others.
void widen(const TensorInfo& tensor, float* out);

}  // namespace octavo
