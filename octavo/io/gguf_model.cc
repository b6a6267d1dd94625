// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/gguf_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"

namespace octavo {

GgufModel::GgufModel(const std::string& path) : file_(path) {
  const std::string_view architecture = file_.get_string("general.architecture");
  if (architecture != "llama")
    fail_unsupported(fmt::format("'{}': general.architecture {} is not supported, only 'llama'", path,
                                 quote_name(architecture)));
  read_config();
  list_parameters();
}

void GgufModel::read_config() {
  const std::string& path = file_.path();
  ModelConfig& c = config_;
  c.name = path;
  c.family = Family::llama;
  c.activation = Activation::silu;
  c.context = file_.get_int("llama.context_length");
  c.width = file_.get_int("llama.embedding_length");
  c.layers = file_.get_int("llama.block_count");
  c.ffn = file_.get_int("llama.feed_forward_length");
  c.heads = file_.get_int("llama.attention.head_count");
  c.kv_heads = file_.find_int("llama.attention.head_count_kv").value_or(c.heads);
  c.head_dim = file_.find_int("llama.attention.key_length").value_or(c.heads > 0 ? c.width / c.heads : 0);
  c.rope_theta = file_.find_double("llama.rope.freq_base").value_or(10000.0);
  const auto eps = file_.find_double("llama.attention.layer_norm_rms_epsilon");
  if (!eps)
    fail_data(fmt::format("'{}': metadata key 'llama.attention.layer_norm_rms_epsilon' is missing", path));
  // Written as FP32, meant as a short decimal: 1e-5 came out as 9.9999997e-06.
  c.norm_eps = std::stod(fmt::format("{}", static_cast<float>(*eps)));
  c.rope_theta = std::stod(fmt::format("{}", static_cast<float>(c.rope_theta)));
  const GgufTensor* table = file_.find("token_embd.weight");
  if (!table || table->shape.size() != 2)
    fail_data(fmt::format("'{}': tensor token_embd.weight is missing or is no matrix", path));
  c.vocab_size = static_cast<int64_t>(std::min<uint64_t>(table->shape[0], INT64_MAX));
  c.tied_head = !file_.find("output.weight");
  c.bos = file_.find_int("tokenizer.ggml.bos_token_id").value_or(-1);
  if (const auto eos = file_.find_int("tokenizer.ggml.eos_token_id")) c.eos = {*eos};

  const auto must_be = [&](const char* key, int64_t expected, const char* why) {
    const auto value = file_.find_int(key);
    if (value && *value != expected)
      fail_unsupported(fmt::format("'{}': metadata key '{}' is {}, only {} is supported ({})", path, key,
                                   *value, expected, why));
  };
  must_be("llama.rope.dimension_count", c.head_dim, "the whole head is rotated");
  must_be("llama.attention.value_length", c.head_dim, "keys and values have one size");
  must_be("llama.expert_count", 0, "mixtures of experts");
  must_be("llama.attention.sliding_window", 0, "every position is seen");
  const auto scaling = file_.find_string("llama.rope.scaling.type");
  if (scaling && *scaling != "none")
    fail_unsupported(fmt::format("'{}': llama.rope.scaling.type {} is not supported, only 'none'", path,
                                 quote_name(*scaling)));
  for (const char* key : {"llama.rope.scaling.factor", "llama.rope.scale_linear"})
    if (const auto factor = file_.find_double(key); factor && *factor != 1 && *factor != 0)
      fail_unsupported(
          fmt::format("'{}': metadata key '{}' is {}, rotary scaling is not supported", path, key, *factor));
  if (file_.find("rope_freqs.weight"))
    fail_unsupported(fmt::format(
        "'{}': tensor rope_freqs.weight scales the rotary frequencies, which is not supported", path));
  if (file_.find_bool("llama.attention.causal").value_or(true) == false)
    fail_unsupported(
        fmt::format("'{}': llama.attention.causal is false, only causal attention is supported", path));
  validate(c, "'" + path + "'");
  for (const int64_t id : {c.bos, c.eos.empty() ? -1 : c.eos[0]})
    if (id >= c.vocab_size)
      fail_data(fmt::format("'{}': token id {} of the metadata is outside the {} rows of token_embd.weight",
                            path, id, c.vocab_size));
  // Before anything is listed: a layer count the file cannot have would otherwise be walked to its end.
  if (static_cast<uint64_t>(c.layers) > file_.tensors().size())
    fail_data(fmt::format("'{}': llama.block_count is {} but the file has only {} tensors", path, c.layers,
                          file_.tensors().size()));
}

void GgufModel::list_parameters() {
  const ModelConfig& c = config_;
  std::set<std::string_view> used;
  const auto add = [&](const std::string& stored, std::string name, std::vector<int64_t> shape,
                       int64_t heads = 0) {
    const GgufTensor* tensor = file_.find(stored);
    if (!tensor) fail_data(fmt::format("'{}': tensor {} is missing", file_.path(), stored));
    if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end(),
                    [](int64_t a, uint64_t b) { return static_cast<uint64_t>(a) == b; }))
      fail_data(fmt::format("'{}': tensor {} has shape [{}], the metadata asks for [{}]", file_.path(),
                            stored, fmt::join(tensor->shape, ", "), fmt::join(shape, ", ")));
    used.insert(tensor->name);
    parameters_.push_back({std::move(name), tensor->encoding->plain.value_or(FileDtype::f32), tensor, heads});
  };
  add("token_embd.weight", "model.embed_tokens.weight", {c.vocab_size, c.width});
  for (int64_t i = 0; i < c.layers; ++i) {
    const std::string from = fmt::format("blk.{}.", i), to = fmt::format("model.layers.{}.", i);
    add(from + "attn_norm.weight", to + "input_layernorm.weight", {c.width});
    add(from + "attn_q.weight", to + "self_attn.q_proj.weight", {c.q_width(), c.width}, c.heads);
    add(from + "attn_k.weight", to + "self_attn.k_proj.weight", {c.kv_width(), c.width}, c.kv_heads);
    add(from + "attn_v.weight", to + "self_attn.v_proj.weight", {c.kv_width(), c.width});
    add(from + "attn_output.weight", to + "self_attn.o_proj.weight", {c.width, c.q_width()});
    add(from + "ffn_norm.weight", to + "post_attention_layernorm.weight", {c.width});
    add(from + "ffn_gate.weight", to + "mlp.gate_proj.weight", {c.ffn, c.width});
    add(from + "ffn_up.weight", to + "mlp.up_proj.weight", {c.ffn, c.width});
    add(from + "ffn_down.weight", to + "mlp.down_proj.weight", {c.width, c.ffn});
  }
  add("output_norm.weight", "model.norm.weight", {c.width});
  if (!c.tied_head) add("output.weight", "lm_head.weight", {c.vocab_size, c.width});
  for (const GgufTensor& tensor : file_.tensors())
    if (!used.contains(tensor.name))
      fail_unsupported(fmt::format("'{}': tensor {} has no place in a Llama model without biases and experts",
                                   file_.path(), quote_name(tensor.name)));
}

const GgufParameter* GgufModel::find(std::string_view name) const {
  const auto found = std::find_if(parameters_.begin(), parameters_.end(),
                                  [&](const GgufParameter& p) { return p.name == name; });
  return found == parameters_.end() ? nullptr : &*found;
}

void GgufModel::read(const GgufParameter& parameter, std::vector<std::byte>& out) const {
  const GgufTensor& tensor = *parameter.source;
  const GgufEncoding& encoding = *tensor.encoding;
  const uint64_t columns = tensor.shape.back(), rows = tensor.elements() / columns;
  const uint64_t stored = columns / encoding.block_elements * encoding.block_bytes;
  const uint64_t row_bytes = encoding.plain ? stored : columns * sizeof(float);
  const uint64_t half = parameter.heads > 0 ? rows / static_cast<uint64_t>(parameter.heads) / 2 : 0;
  out.resize(rows * row_bytes);
  std::vector<float> row(encoding.plain ? 0 : columns);
  for (uint64_t r = 0; r < rows; ++r) {
    uint64_t source = r;
    if (half > 0) {
      const uint64_t in_head = r % (2 * half);
      source = r - in_head + (in_head < half ? 2 * in_head : 2 * (in_head - half) + 1);
    }
    const std::byte* from = tensor.data.data() + source * stored;
    if (!encoding.plain) {
      decode_gguf(encoding, from, columns, row.data());
      from = reinterpret_cast<const std::byte*>(row.data());
    }
    std::memcpy(out.data() + r * row_bytes, from, row_bytes);
  }
}

}  // namespace octavo
