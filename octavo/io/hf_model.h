// SPDX-License-Identifier: Apache-2.0
// Hugging Face model directories: config.json, safetensors under the names and layouts of `transformers`.
#pragma once
#include <functional>
#include <string>

#include "octavo/io/file_dtype.h"
#include "octavo/nn/model_config.h"
#include "octavo/nn/transformer.h"

namespace octavo {

class WeightSource;  // weight_source.h

/// Reads `directory`/config.json. Model types gpt2 and llama. Throws bad_data for wrong or missing keys,
/// unsupported for what the engine does not compute (rope scaling, other activations, attention biases) or
/// read (quantization.h), naming the key; usage for a .gguf file.
ModelConfig read_hf_config(const std::string& directory);

/// The text of config.json for this model; `dtype` is the dtype of the weights beside it.
std::string hf_config_json(const ModelConfig& config, FileDtype dtype);

/// Fills every parameter of `model` from `directory` (F32, BF16, F16, or FP8 as its quantization_config says;
/// sharded or not). A tensor that is missing, has another shape, or belongs to no parameter is an error that
/// names it. `progress(done, total)`
/// in parameters.
void load_hf_weights(const std::string& directory, Transformer& model,
                     const std::function<void(int64_t, int64_t)>& progress = {});

/// The same from weights that were opened, and thereby checked, before memory was taken for the model.
void load_hf_weights(const WeightSource& source, Transformer& model,
                     const std::function<void(int64_t, int64_t)>& progress = {});

/// All FP32 values of a parameter, valid until the next call.
using MasterValues = std::function<const float*(const Parameter&)>;

/// Writes model.safetensors and config.json into `directory`, which exists. dtype f32 or bf16 (nearest even).
/// The masters must be there (a model made for training), or `values` must know them; it is asked once for
/// each parameter, in the order of their names.
void save_hf_model(const std::string& directory, Transformer& model, FileDtype dtype,
                   const MasterValues& values = {});

}  // namespace octavo
