// SPDX-License-Identifier: Apache-2.0
// A Llama model in a GGUF file, seen as octavo sees models: its configuration, and tensors under their
// Hugging Face names and in their layout.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "octavo/io/gguf.h"
#include "octavo/nn/model_config.h"

namespace octavo {

struct GgufParameter {
  std::string name;                  ///< e.g. "model.layers.0.self_attn.q_proj.weight"
  FileDtype dtype = FileDtype::f32;  ///< of read(): as in the file where it is plain, else f32
  const GgufTensor* source = nullptr;
  int64_t heads = 0;  ///< > 0: rows are rotary pairs of this many heads, put back by read()
};

class GgufModel {
 public:
  /// Throws unsupported for other architectures than llama and for what the engine does not compute (rotary
  /// scaling, experts, biases), bad_data for missing keys and for tensors that are missing, have another
  /// shape or have no place; all by name.
  explicit GgufModel(const std::string& path);

  const GgufFile& file() const { return file_; }
  const ModelConfig& config() const { return config_; }
  const std::vector<GgufParameter>& parameters() const { return parameters_; }
  /// nullptr when there is no such parameter. "lm_head.weight" exists only where the head is not tied.
  const GgufParameter* find(std::string_view name) const;

  /// The elements in row-major order, of type parameter.dtype. llama.cpp's converter stores query and key
  /// rows with rotary pairs side by side (2i, 2i + 1); Hugging Face has them in halves (i, i + head_dim / 2),
  /// and that is what comes out.
  void read(const GgufParameter& parameter, std::vector<std::byte>& out) const;

 private:
  void read_config();
  void list_parameters();

  GgufFile file_;
  ModelConfig config_;
  std::vector<GgufParameter> parameters_;
};

}  // namespace octavo
