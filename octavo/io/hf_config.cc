// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/json_file.h"
#include "octavo/io/quantization.h"

namespace octavo {
namespace {

// Only values the engine computes exactly; anything else would load and be wrong.
void require_absent_or(const JsonObject& j, std::string_view key, bool expected) {
  const auto value = j.find_bool(key);
  if (value && *value != expected)
    fail_unsupported(fmt::format("{}: {} is {}, only {} is supported", j.source(), key, *value, expected));
}

Activation activation_of(const JsonObject& j, std::string_view key, const std::string& otherwise) {
  const std::string name = j.find_string(key).value_or(otherwise);
  if (name == "gelu_new" || name == "gelu_pytorch_tanh" || name == "gelu_fast") return Activation::gelu_tanh;
  if (name == "gelu") return Activation::gelu;
  if (name == "relu") return Activation::relu;
  if (name == "silu" || name == "swish") return Activation::silu;
  fail_unsupported(
      fmt::format("{}: {} '{}' is not supported{}", j.source(), key, name,
                  did_you_mean(name, {"gelu_new", "gelu", "relu", "silu", "gelu_pytorch_tanh"})));
}

const char* hf_activation(Activation activation) {
  switch (activation) {
    case Activation::gelu_tanh:
      return "gelu_new";
    case Activation::gelu:
      return "gelu";
    case Activation::relu:
      return "relu";
    case Activation::silu:
      return "silu";
  }
  return "?";
}

void read_tokens(const JsonObject& j, ModelConfig& c) {
  c.bos = j.find_int("bos_token_id").value_or(-1);
  if (j.is_array("eos_token_id"))
    c.eos = j.get_int_array("eos_token_id");
  else if (const auto eos = j.find_int("eos_token_id"))
    c.eos = {*eos};
}

ModelConfig read_gpt2(const JsonObject& j) {
  ModelConfig c;
  c.family = Family::gpt2;
  c.vocab_size = j.get_int("vocab_size");
  c.context = j.find_int("n_positions").value_or(1024);
  c.width = j.get_int("n_embd");
  c.layers = j.get_int("n_layer");
  c.heads = c.kv_heads = j.get_int("n_head");
  c.head_dim = c.heads > 0 ? c.width / c.heads : 0;
  c.ffn = j.find_int("n_inner").value_or(4 * c.width);
  c.activation = activation_of(j, "activation_function", "gelu_new");
  c.norm_eps = j.find_double("layer_norm_epsilon").value_or(1e-5);
  c.tied_head = j.find_bool("tie_word_embeddings").value_or(true);
  c.init_std = j.find_double("initializer_range").value_or(0.02);
  require_absent_or(j, "scale_attn_by_inverse_layer_idx", false);
  require_absent_or(j, "scale_attn_weights", true);
  require_absent_or(j, "add_cross_attention", false);
  return c;
}

ModelConfig read_llama(const JsonObject& j) {
  ModelConfig c;
  c.family = Family::llama;
  c.vocab_size = j.get_int("vocab_size");
  c.context = j.find_int("max_position_embeddings").value_or(2048);
  c.width = j.get_int("hidden_size");
  c.layers = j.get_int("num_hidden_layers");
  c.heads = j.get_int("num_attention_heads");
  c.kv_heads = j.find_int("num_key_value_heads").value_or(c.heads);
  c.head_dim = j.find_int("head_dim").value_or(c.heads > 0 ? c.width / c.heads : 0);
  c.ffn = j.get_int("intermediate_size");
  c.activation = activation_of(j, "hidden_act", "silu");
  c.norm_eps = j.find_double("rms_norm_eps").value_or(1e-6);
  c.rope_theta = j.find_double("rope_theta").value_or(10000.0);
  c.tied_head = j.find_bool("tie_word_embeddings").value_or(false);
  c.init_std = j.find_double("initializer_range").value_or(0.02);
  require_absent_or(j, "attention_bias", false);
  require_absent_or(j, "mlp_bias", false);
  for (const char* key : {"rope_scaling", "rope_parameters"}) {  // the second name since transformers 5
    const auto rope = j.find_object(key);
    if (!rope) continue;
    const std::string type =
        rope->find_string("rope_type").value_or(rope->find_string("type").value_or("default"));
    if (type != "default")
      fail_unsupported(
          fmt::format("{}: {} of type '{}' is not supported, only 'default'", j.source(), key, type));
    if (const auto theta = rope->find_double("rope_theta")) c.rope_theta = *theta;
  }
  return c;
}

size_t word_index(const JsonObject& j, std::string_view key, const std::vector<std::string>& words) {
  const std::string value = j.get_string(std::string(key));
  for (size_t i = 0; i < words.size(); ++i)
    if (words[i] == value) return i;
  fail_unsupported(
      fmt::format("{}: {} '{}' is unknown{}", j.source(), key, value, did_you_mean(value, words)));
}

// Every choice is written out, so a reader needs to know no scheme's defaults.
ModelConfig read_octavo(const JsonObject& j) {
  ModelConfig c;
  c.family = Family::octavo;
  c.vocab_size = j.get_int("vocab_size");
  c.context = j.get_int("max_position_embeddings");
  c.width = j.get_int("hidden_size");
  c.layers = j.get_int("num_hidden_layers");
  c.heads = j.get_int("num_attention_heads");
  c.kv_heads = j.get_int("num_key_value_heads");
  c.head_dim = j.get_int("head_dim");
  c.ffn = j.get_int("intermediate_size");
  c.activation = activation_of(j, "hidden_act", "gelu_new");
  c.norm_eps = j.get_double("layer_norm_eps");
  c.rope_theta = j.get_double("rope_theta");
  c.tied_head = j.get_bool("tie_word_embeddings");
  c.init_std = j.get_double("initializer_range");
  c.scheme = static_cast<Scheme>(word_index(j, "scheme", scheme_words()));
  c.placement = static_cast<NormPlacement>(word_index(j, "norm_placement", placement_words()));
  c.residual = static_cast<Residual>(word_index(j, "residual", residual_words()));
  c.tau = j.get_double("tau");
  c.final_norm = j.get_bool("final_norm");
  c.learned_positions = word_index(j, "positions", {"rotary", "learned"}) == 1;
  c.sqrt_softmax = j.get_bool("sqrt_softmax");
  c.multipliers = j.get_bool("multipliers");
  return c;
}

void write_octavo(const ModelConfig& c, nlohmann::ordered_json& j) {
  j["max_position_embeddings"] = c.context;
  j["hidden_size"] = c.width;
  j["intermediate_size"] = c.ffn;
  j["num_hidden_layers"] = c.layers;
  j["num_attention_heads"] = c.heads;
  j["num_key_value_heads"] = c.kv_heads;
  j["head_dim"] = c.head_dim;
  j["hidden_act"] = hf_activation(c.activation);
  j["layer_norm_eps"] = c.norm_eps;
  j["rope_theta"] = c.rope_theta;
  j["scheme"] = to_string(c.scheme);
  j["norm_placement"] = to_string(c.placement);
  j["residual"] = to_string(c.residual);
  j["tau"] = c.tau;
  j["final_norm"] = c.final_norm;
  j["positions"] = c.learned_positions ? "learned" : "rotary";
  j["sqrt_softmax"] = c.sqrt_softmax;
  j["multipliers"] = c.multipliers;
}

const char* architecture(Family family) {
  switch (family) {
    case Family::gpt2:
      return "GPT2LMHeadModel";
    case Family::llama:
      return "LlamaForCausalLM";
    case Family::octavo:
      return "OctavoForCausalLM";
  }
  return "?";
}

}  // namespace

ModelConfig read_hf_config(const std::string& directory) {
  if (directory.ends_with(".gguf"))
    fail_usage(fmt::format(
        "'{0}' is a GGUF file, not a model directory: octavo import {0} --out DIR makes one of it",
        directory));
  const JsonObject j = JsonObject::read(directory + "/config.json");
  const std::string type = j.get_string("model_type");
  ModelConfig c;
  if (type == "gpt2")
    c = read_gpt2(j);
  else if (type == "llama")
    c = read_llama(j);
  else if (type == "octavo")
    c = read_octavo(j);
  else
    fail_unsupported(
        fmt::format("{}: model_type '{}' is not supported; known: gpt2, llama, octavo", j.source(), type));
  read_quantization(j);  // what is not supported is refused before any weight is read
  read_tokens(j, c);
  c.name = directory;
  validate(c, j.source());
  return c;
}

std::string hf_config_json(const ModelConfig& c, FileDtype dtype) {
  nlohmann::ordered_json j;
  const bool gpt2 = c.family == Family::gpt2;
  j["architectures"] = {architecture(c.family)};
  j["model_type"] = to_string(c.family);
  j["vocab_size"] = c.vocab_size;
  if (gpt2) {
    j["n_positions"] = c.context;
    j["n_embd"] = c.width;
    j["n_layer"] = c.layers;
    j["n_head"] = c.heads;
    j["n_inner"] = c.ffn;
    j["activation_function"] = hf_activation(c.activation);
    j["layer_norm_epsilon"] = c.norm_eps;
    for (const char* key : {"attn_pdrop", "embd_pdrop", "resid_pdrop"}) j[key] = 0.0;
  } else if (c.family == Family::octavo) {
    write_octavo(c, j);
  } else {
    j["max_position_embeddings"] = c.context;
    j["hidden_size"] = c.width;
    j["intermediate_size"] = c.ffn;
    j["num_hidden_layers"] = c.layers;
    j["num_attention_heads"] = c.heads;
    j["num_key_value_heads"] = c.kv_heads;
    j["head_dim"] = c.head_dim;
    j["hidden_act"] = hf_activation(c.activation);
    j["rms_norm_eps"] = c.norm_eps;
    j["rope_theta"] = c.rope_theta;
    j["attention_bias"] = false;
    j["mlp_bias"] = false;
  }
  j["initializer_range"] = c.init_std;
  j["tie_word_embeddings"] = c.tied_head;
  j["bos_token_id"] = c.bos >= 0 ? nlohmann::ordered_json(c.bos) : nlohmann::ordered_json(nullptr);
  if (c.eos.size() == 1)
    j["eos_token_id"] = c.eos[0];
  else if (c.eos.empty())
    j["eos_token_id"] = nullptr;
  else
    j["eos_token_id"] = c.eos;
  j["torch_dtype"] = dtype == FileDtype::bf16 ? "bfloat16" : "float32";
  return j.dump(2) + "\n";
}

}  // namespace octavo
