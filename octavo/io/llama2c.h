// SPDX-License-Identifier: Apache-2.0
// Model files of llama2.c: version 0 (legacy, no magic) and version 1 ("ak42"), both float32.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/base/file.h"

namespace octavo {

/// The header. Rotary embedding base 10000 and norm epsilon 1e-5 are fixed by the format.
struct Llama2cConfig {
  int64_t dim = 0;
  int64_t hidden_dim = 0;
  int64_t n_layers = 0;
  int64_t n_heads = 0;
  int64_t n_kv_heads = 0;
  int64_t vocab_size = 0;
  int64_t max_seq_len = 0;
  bool shared_classifier = true;  ///< the output matrix is the embedding
  int64_t head_dim() const { return dim / n_heads; }
};

/// A tensor under its Hugging Face name, e.g. "model.layers.0.self_attn.q_proj.weight" [n_heads * head_dim,
/// dim].
struct Llama2cTensor {
  std::string name;
  std::vector<uint64_t> shape;
  uint64_t offset = 0;  ///< in the file, bytes
  int64_t heads = 0;    ///< > 0: rows are rotary pairs of this many heads, reordered by read()
  uint64_t elements() const;
};

/// A mapped file. Throws bad_data when the header makes no sense or the file size is not exactly what it
/// implies, unsupported for other versions (2 is 8-bit integers).
class Llama2cModel {
 public:
  explicit Llama2cModel(const std::string& path);

  const Llama2cConfig& config() const { return config_; }
  const std::vector<Llama2cTensor>& tensors() const { return tensors_; }
  /// nullptr when there is no such tensor. "lm_head.weight" exists only without a shared classifier.
  const Llama2cTensor* find(std::string_view name) const;

  /// Copies the tensor, row-major. Query and key rows go from interleaved rotary pairs (2i, 2i+1) of a head
  /// to the Hugging Face order, halves (i, i + head_dim/2). `out` has tensor.elements() values.
  void read(const Llama2cTensor& tensor, std::span<float> out) const;

 private:
  void read_header(int version);
  void list_tensors(int version, uint64_t data_begin);

  MappedFile file_;
  Llama2cConfig config_;
  std::vector<Llama2cTensor> tensors_;
};

}  // namespace octavo
