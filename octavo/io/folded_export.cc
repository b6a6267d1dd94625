// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/folded_export.h"

#include <fmt/format.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/io/weight_source.h"

namespace octavo {
namespace {

/// Collects tensors under the names of one architecture.
class Folder {
 public:
  Folder(const ModelConfig& config, const ParameterSet& parameters, const WeightSource& source)
      : c_(config), parameters_(parameters), source_(source) {}

  std::vector<TensorToWrite> run() {
    if (c_.learned_positions)
      gpt2();
    else
      neox();
    std::vector<TensorToWrite> all;
    for (const auto& [name, tensor] : tensors_)
      all.push_back({name, FileDtype::f32, tensor.shape, tensor.values.data()});
    return all;
  }

 private:
  struct Tensor {
    std::vector<uint64_t> shape;
    std::vector<float> values;
  };

  std::vector<float> read(const std::string& name) const {
    std::vector<float> values;
    for (const Parameter& p : parameters_.all())
      if (p.name == name) source_.read(p, values);
    return values;
  }
  static void scale(std::vector<float>& values, double factor) {
    for (float& v : values) v = static_cast<float>(v * factor);
  }
  void put(const std::string& name, std::vector<uint64_t> shape, std::vector<float> values) {
    tensors_[name] = {std::move(shape), std::move(values)};
  }
  static uint64_t dim(int64_t n) { return static_cast<uint64_t>(n); }

  /// A matrix of the model [out, in] as it is stored: GPT-2 keeps [in, out]. Architectures with biases get
  /// zeros.
  void matrix(const std::string& name, std::vector<float> values, int64_t out, int64_t in) {
    if (c_.learned_positions) {
      std::vector<float> turned(values.size());
      transpose(values.data(), out, in, turned.data());
      put(name + ".weight", {dim(in), dim(out)}, std::move(turned));
    } else {
      put(name + ".weight", {dim(out), dim(in)}, std::move(values));
    }
    put(name + ".bias", {dim(out)}, std::vector<float>(static_cast<size_t>(out)));
  }
  void norm(const std::string& to, const std::string& from) {
    put(to + ".weight", {dim(c_.width)}, read(from + ".weight"));
    put(to + ".bias", {dim(c_.width)}, std::vector<float>(static_cast<size_t>(c_.width)));
  }

  std::vector<float> table(const char* name) const { return read(name); }
  std::vector<float> head() const {
    std::vector<float> values = read(c_.tied_head ? "model.embed_tokens.weight" : "lm_head.weight");
    scale(values, layer_rule(c_, Layer::output, c_.width).multiplier);
    return values;
  }
  /// [q; k; v] rows with multiplier and attention scale.
  std::vector<float> qkv(const std::string& block) const {
    std::vector<float> values = read(block + ".self_attn.qkv_proj.weight");
    scale(values, layer_rule(c_, Layer::hidden, c_.width).multiplier);
    const double queries = attention_scale(c_) * std::sqrt(static_cast<double>(c_.head_dim));
    for (size_t i = 0; i < static_cast<size_t>(c_.q_width() * c_.width); ++i)
      values[i] = static_cast<float>(values[i] * queries);
    return values;
  }
  std::vector<float> into_stream(const std::string& name, int64_t fan_in, int64_t addition) {
    const ResidualFactors factors = residual_factors(c_, addition);
    skipped_ *= factors.skip;
    std::vector<float> values = read(name + ".weight");
    scale(values, layer_rule(c_, Layer::into_stream, fan_in).multiplier * factors.branch / skipped_);
    return values;
  }
  std::vector<float> up(const std::string& block) const {
    std::vector<float> values = read(block + ".mlp.up_proj.weight");
    scale(values, layer_rule(c_, Layer::hidden, c_.width).multiplier);
    return values;
  }

  void block(int64_t i, const std::string& to, const std::map<std::string, std::string>& names) {
    const std::string from = fmt::format("model.layers.{}", i);
    norm(to + names.at("norm1"), from + ".input_layernorm");
    norm(to + names.at("norm2"), from + ".post_attention_layernorm");
    std::vector<float> fused = qkv(from);
    if (!c_.learned_positions) fused = by_head(fused);
    matrix(to + names.at("qkv"), std::move(fused), 3 * c_.width, c_.width);
    matrix(to + names.at("out"), into_stream(from + ".self_attn.o_proj", c_.q_width(), 2 * i), c_.width,
           c_.width);
    matrix(to + names.at("up"), up(from), c_.ffn, c_.width);
    matrix(to + names.at("down"), into_stream(from + ".mlp.down_proj", c_.ffn, 2 * i + 1), c_.width, c_.ffn);
  }

  /// Rows [q heads; k heads; v heads] as [q, k, v of head 0; q, k, v of head 1; ...].
  std::vector<float> by_head(const std::vector<float>& values) const {
    std::vector<float> out(values.size());
    const int64_t part = c_.head_dim * c_.width;
    for (int64_t which = 0; which < 3; ++which)
      for (int64_t head = 0; head < c_.heads; ++head)
        std::copy_n(values.begin() + (which * c_.heads + head) * part, part,
                    out.begin() + (head * 3 + which) * part);
    return out;
  }

  void gpt2() {
    put("transformer.wte.weight", {dim(c_.vocab_size), dim(c_.width)}, table("model.embed_tokens.weight"));
    put("transformer.wpe.weight", {dim(c_.context), dim(c_.width)}, table("model.embed_positions.weight"));
    for (int64_t i = 0; i < c_.layers; ++i)
      block(i, fmt::format("transformer.h.{}.", i),
            {{"norm1", "ln_1"},
             {"norm2", "ln_2"},
             {"qkv", "attn.c_attn"},
             {"out", "attn.c_proj"},
             {"up", "mlp.c_fc"},
             {"down", "mlp.c_proj"}});
    norm("transformer.ln_f", "model.norm");
    put("lm_head.weight", {dim(c_.vocab_size), dim(c_.width)}, head());
  }

  void neox() {
    put("gpt_neox.embed_in.weight", {dim(c_.vocab_size), dim(c_.width)}, table("model.embed_tokens.weight"));
    for (int64_t i = 0; i < c_.layers; ++i)
      block(i, fmt::format("gpt_neox.layers.{}.", i),
            {{"norm1", "input_layernorm"},
             {"norm2", "post_attention_layernorm"},
             {"qkv", "attention.query_key_value"},
             {"out", "attention.dense"},
             {"up", "mlp.dense_h_to_4h"},
             {"down", "mlp.dense_4h_to_h"}});
    norm("gpt_neox.final_layer_norm", "model.norm");
    put("embed_out.weight", {dim(c_.vocab_size), dim(c_.width)}, head());
  }

  const ModelConfig& c_;
  const ParameterSet& parameters_;
  const WeightSource& source_;
  double skipped_ = 1;  ///< product of the skip factors of the additions before
  std::map<std::string, Tensor> tensors_;
};

std::string neox_config(const ModelConfig& c) {
  nlohmann::ordered_json j = nlohmann::ordered_json::parse(hf_config_json(c, FileDtype::f32));
  nlohmann::ordered_json out;
  out["architectures"] = {"GPTNeoXForCausalLM"};
  out["model_type"] = "gpt_neox";
  for (const char* key : {"vocab_size", "max_position_embeddings", "hidden_size", "intermediate_size",
                          "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps",
                          "initializer_range", "bos_token_id", "eos_token_id", "torch_dtype"})
    out[key] = j[key];
  out["rotary_pct"] = 1.0;
  out["rotary_emb_base"] = c.rope_theta;
  out["rope_theta"] = c.rope_theta;
  out["use_parallel_residual"] = false;
  out["attention_bias"] = true;
  out["tie_word_embeddings"] = false;
  return out.dump(2) + "\n";
}

std::string gpt2_config(const ModelConfig& c) {
  ModelConfig plain = c;
  plain.family = Family::gpt2;
  plain.tied_head = false;
  return hf_config_json(plain, FileDtype::f32);
}

}  // namespace

std::string folding_obstacle(const ModelConfig& c) {
  if (c.family != Family::octavo)
    return fmt::format("a {} model has no constants to fold; it is a plain model already",
                       to_string(c.family));
  if (c.placement == NormPlacement::res_post)
    return "its norms stand at the end of the branches (model.norm res-post), and no GPT or Llama "
           "architecture adds "
           "the output of a norm to the stream; use it with octavo, or train with model.norm pre";
  if (c.sqrt_softmax) return "its attention weights are square roots of a softmax, which no architecture has";
  if (c.kv_heads != c.heads) return "its heads share keys and values, which GPT-2 and GPT-NeoX do not have";
  if (c.q_width() != c.width)
    return "its heads are not width / heads wide, as those of GPT-2 and GPT-NeoX are";
  return "";
}

FoldedExport export_folded(const std::string& source, const std::string& directory) {
  const ModelConfig config = read_hf_config(source);
  if (const std::string obstacle = folding_obstacle(config); !obstacle.empty())
    fail_unsupported(fmt::format("{} cannot be folded: {}", source, obstacle));
  ThreadPool pool(1);
  const Transformer shape(config, Recipe(), Purpose::inference,
                          pool);  // for its parameters; no memory is taken
  const WeightSource weights(source, config, shape.parameters());
  Folder folder(config, shape.parameters(), weights);
  const std::vector<TensorToWrite> tensors = folder.run();
  write_safetensors(directory + "/model.safetensors", tensors, {{"format", "pt"}});
  write_file_atomic(directory + "/config.json",
                    config.learned_positions ? gpt2_config(config) : neox_config(config));
  FoldedExport done;
  done.architecture = config.learned_positions ? "GPT2LMHeadModel" : "GPTNeoXForCausalLM";
  done.tensors = static_cast<int64_t>(tensors.size());
  for (const TensorToWrite& t : tensors) {
    uint64_t elements = 1;
    for (const uint64_t n : t.shape) elements *= n;
    done.bytes += elements * sizeof(float);
  }
  return done;
}

}  // namespace octavo
