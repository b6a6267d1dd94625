// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/quantization.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"

namespace octavo {
namespace {

using Convention = Quantization::Convention;
using Inputs = Quantization::Inputs;

[[noreturn]] void refuse(const JsonObject& j, const std::string& key, std::string_view value,
                         const char* supported) {
  fail_unsupported(
      fmt::format("{}: {} {} is not supported, only {}", j.source(), key, quote_name(value), supported));
}

void require(const JsonObject& j, const std::string& where, const char* key, const char* expected) {
  if (const auto value = j.find_string(key); value && *value != expected)
    refuse(j, where + key, *value, fmt::format("'{}'", expected).c_str());
}

/// One scheme of compressed-tensors: 8-bit symmetric floats.
void check_scheme(const JsonObject& j, const std::string& where) {
  if (const int64_t bits = j.get_int("num_bits"); bits != 8)
    refuse(j, where + "num_bits", std::to_string(bits), "8");
  if (const std::string type = j.get_string("type"); type != "float")
    refuse(j, where + "type", type, "'float'");
  if (!j.find_bool("symmetric").value_or(true)) refuse(j, where + "symmetric", "false", "true");
}

GranularitySpec block_size(const JsonObject& j, const char* key) {
  const std::vector<int64_t> size = j.get_int_array(key);
  constexpr int64_t kLargest = 1 << 16;
  if (size.size() != 2 || size[0] < 1 || size[1] < 1 || size[0] > kLargest || size[1] > kLargest)
    fail_data(fmt::format("{}: {} is [{}], expected two numbers from 1 to {}", j.source(), key,
                          fmt::join(size, ", "), kLargest));
  return {Granularity::block, static_cast<int32_t>(size[0]), static_cast<int32_t>(size[1])};
}

Inputs read_inputs(const JsonObject& group) {
  const auto inputs = group.find_object("input_activations");
  if (!inputs) return Inputs::unquantized;
  const std::string where = "input_activations.";
  check_scheme(*inputs, where);
  if (inputs->find_bool("dynamic").value_or(false)) return Inputs::dynamic;
  const std::string strategy = inputs->find_string("strategy").value_or("tensor");
  if (strategy != "tensor") refuse(*inputs, where + "strategy", strategy, "'tensor' where dynamic is false");
  return Inputs::static_tensor;
}

void read_compressed_tensors(const JsonObject& j, Quantization& q) {
  q.convention = Convention::compressed_tensors;
  require(j, "quantization_config.", "format", "float-quantized");
  require(j, "quantization_config.", "quantization_status", "compressed");
  for (const char* key : {"kv_cache_scheme", "transform_config"})
    if (const auto object = j.find_object(key); object && !object->keys().empty())
      fail_unsupported(fmt::format("{}: quantization_config.{} is not supported", j.source(), key));
  if (const auto sparsity = j.find_object("sparsity_config"))
    require(*sparsity, "quantization_config.sparsity_config.", "format", "dense");
  const JsonObject groups = j.get_object("config_groups");
  const std::vector<std::string> names = groups.keys();
  if (names.size() != 1)
    fail_unsupported(fmt::format("{}: quantization_config.config_groups has {} groups, only one is supported",
                                 j.source(), names.size()));
  const JsonObject group = groups.get_object(names[0]);
  if (const auto targets = group.get_string_array("targets"); targets != std::vector<std::string>{"Linear"})
    refuse(j, "targets", fmt::format("{}", fmt::join(targets, ", ")), "'Linear'");
  require(group, "", "format", "float-quantized");
  if (group.find_object("output_activations"))
    fail_unsupported(fmt::format("{}: quantized output_activations are not supported", j.source()));
  const JsonObject weights = group.get_object("weights");
  check_scheme(weights, "weights.");
  if (weights.find_bool("dynamic").value_or(false)) refuse(j, "weights.dynamic", "true", "false");
  const std::string strategy = weights.get_string("strategy");
  if (strategy == "tensor")
    q.weights.kind = Granularity::tensor;
  else if (strategy == "channel")
    q.weights.kind = Granularity::row;
  else if (strategy == "block")
    q.weights = block_size(weights, "block_structure");
  else
    refuse(j, "weights.strategy", strategy, "'tensor', 'channel' and 'block'");
  q.inputs = read_inputs(group);
  if (j.is_array("ignore")) q.ignore = j.get_string_array("ignore");
}

void read_fp8(const JsonObject& j, Quantization& q) {
  q.convention = Convention::fp8;
  require(j, "quantization_config.", "fmt", "e4m3");
  const std::string scheme = j.find_string("activation_scheme").value_or("dynamic");
  if (scheme != "dynamic" && scheme != "static")
    refuse(j, "quantization_config.activation_scheme", scheme, "'dynamic' and 'static'");
  q.inputs = scheme == "static" ? Inputs::static_tensor : Inputs::dynamic;
  if (j.is_array("weight_block_size")) q.weights = block_size(j, "weight_block_size");
  for (const char* key : {"modules_to_not_convert", "ignored_layers"})
    if (j.is_array(key))
      for (std::string& module : j.get_string_array(key))
        if (std::find(q.ignore.begin(), q.ignore.end(), module) == q.ignore.end())
          q.ignore.push_back(std::move(module));
}

bool is_pattern(std::string_view entry) { return entry.starts_with("re:"); }

}  // namespace

std::string_view Quantization::scale_name() const {
  const bool inverse_in_name = convention == Convention::fp8 && weights.kind == Granularity::block;
  return inverse_in_name ? "weight_scale_inv" : "weight_scale";
}

std::vector<uint64_t> Quantization::scale_shape(uint64_t rows, uint64_t cols) const {
  if (weights.kind == Granularity::tensor) return {1};
  if (weights.kind == Granularity::row) return {rows, 1};
  const auto r = static_cast<uint64_t>(weights.block_rows), c = static_cast<uint64_t>(weights.block_cols);
  return {(rows + r - 1) / r, (cols + c - 1) / c};
}

bool Quantization::ignores(std::string_view module) const {
  return std::any_of(ignore.begin(), ignore.end(), [&](const std::string& entry) {
    return !entry.empty() &&
           (module == entry || module.ends_with("." + entry) || module.starts_with(entry + "."));
  });
}

bool Quantization::has_patterns() const { return std::any_of(ignore.begin(), ignore.end(), is_pattern); }

std::optional<Quantization> read_quantization(const JsonObject& config) {
  const auto j = config.find_object("quantization_config");
  if (!j) return std::nullopt;
  Quantization q;
  q.source = j->source();
  const std::string method = j->get_string("quant_method");
  if (method == "compressed-tensors")
    read_compressed_tensors(*j, q);
  else if (method == "fp8")
    read_fp8(*j, q);
  else
    refuse(*j, "quantization_config.quant_method", method, "'compressed-tensors' and 'fp8'");
  return q;
}

std::string with_quantization(const std::string& config_json, const Quantization& q) {
  using Json = nlohmann::ordered_json;
  Json out;
  if (q.convention == Convention::compressed_tensors) {
    const bool row = q.weights.kind == Granularity::row;
    const auto scheme = [](const char* strategy, bool dynamic) -> Json {
      return {{"num_bits", 8},
              {"type", "float"},
              {"strategy", strategy},
              {"symmetric", true},
              {"dynamic", dynamic}};
    };
    Json group = {{"targets", {"Linear"}}, {"weights", scheme(row ? "channel" : "tensor", false)}};
    group["input_activations"] = q.inputs == Inputs::unquantized ? Json(nullptr)
                                 : q.inputs == Inputs::dynamic   ? scheme("token", true)
                                                                 : scheme("tensor", false);
    group["output_activations"] = nullptr;
    out = {{"quant_method", "compressed-tensors"},
           {"format", "float-quantized"},
           {"quantization_status", "compressed"},
           {"config_groups", {{"group_0", group}}},
           {"ignore", q.ignore},
           {"kv_cache_scheme", nullptr}};
  } else {
    // transformers reads the first list of modules, older vLLM only the second.
    out = {{"quant_method", "fp8"},
           {"activation_scheme", "dynamic"},
           {"fmt", "e4m3"},
           {"weight_block_size", {q.weights.block_rows, q.weights.block_cols}},
           {"modules_to_not_convert", q.ignore},
           {"ignored_layers", q.ignore}};
  }
  Json config = Json::parse(config_json);
  config["quantization_config"] = std::move(out);
  return config.dump(2) + "\n";
}

}  // namespace octavo
