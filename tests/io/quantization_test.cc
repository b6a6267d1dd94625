// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/quantization.h"

#include "io/io_test_util.h"

namespace octavo {
namespace {

std::optional<Quantization> read(const std::string& quantization) {
  return read_quantization(
      JsonObject::parse("{\"quantization_config\": " + quantization + "}", "config.json"));
}

std::string compressed(const std::string& weights, const std::string& inputs = "null",
                       const std::string& more = "") {
  return R"({"quant_method": "compressed-tensors", "format": "float-quantized", "quantization_status": "compressed",
    "config_groups": {"group_0": {"targets": ["Linear"], "weights": )" +
         weights + R"(, "input_activations": )" + inputs + R"(}}, "ignore": ["lm_head"])" + more + "}";
}

std::string scheme(const std::string& strategy, const std::string& more = "") {
  return R"({"num_bits": 8, "type": "float", "symmetric": true, "strategy": ")" + strategy + "\"" + more +
         "}";
}

TEST(Quantization, NoneIsNone) {
  EXPECT_FALSE(read_quantization(JsonObject::parse("{}", "c")));
  EXPECT_FALSE(read("null"));
}

TEST(Quantization, CompressedTensors) {
  const auto tensor = read(compressed(scheme("tensor"), scheme("tensor", R"(, "dynamic": false)")));
  ASSERT_TRUE(tensor);
  EXPECT_EQ(tensor->weights.kind, Granularity::tensor);
  EXPECT_EQ(tensor->inputs, Quantization::Inputs::static_tensor);
  EXPECT_EQ(tensor->scale_name(), "weight_scale");
  EXPECT_EQ(tensor->scale_shape(6, 9), std::vector<uint64_t>{1});
  EXPECT_EQ(tensor->ignore, std::vector<std::string>{"lm_head"});
  const auto channel = read(compressed(scheme("channel"), scheme("token", R"(, "dynamic": true)")));
  EXPECT_EQ(channel->inputs, Quantization::Inputs::dynamic);
  EXPECT_EQ(channel->scale_shape(6, 9), (std::vector<uint64_t>{6, 1}));
  const auto block = read(compressed(scheme("block", R"(, "block_structure": [4, 2])")));
  EXPECT_EQ(block->inputs, Quantization::Inputs::unquantized);
  EXPECT_EQ(block->scale_shape(6, 9), (std::vector<uint64_t>{2, 5}));
  EXPECT_EQ(block->scale_name(), "weight_scale");
}

TEST(Quantization, Fp8) {
  const auto block = read(R"({"quant_method": "fp8", "weight_block_size": [128, 128], "fmt": "e4m3",
    "activation_scheme": "dynamic", "modules_to_not_convert": ["lm_head", "a.b"], "ignored_layers": ["lm_head", "c"]})");
  ASSERT_TRUE(block);
  EXPECT_EQ(block->scale_name(), "weight_scale_inv");
  EXPECT_EQ(block->scale_shape(129, 128), (std::vector<uint64_t>{2, 1}));
  EXPECT_EQ(block->ignore, (std::vector<std::string>{"lm_head", "a.b", "c"}));
  const auto tensor = read(R"({"quant_method": "fp8", "activation_scheme": "static"})");
  EXPECT_EQ(tensor->scale_name(), "weight_scale");
  EXPECT_EQ(tensor->weights.kind, Granularity::tensor);
  EXPECT_EQ(tensor->inputs, Quantization::Inputs::static_tensor);
}

TEST(Quantization, WhatIsIgnored) {
  Quantization q;
  q.ignore = {"lm_head", "model.layers.0", "mlp.up_proj", "re:.*gate$"};
  EXPECT_TRUE(q.ignores("lm_head"));
  EXPECT_TRUE(q.ignores("model.layers.0.self_attn.q_proj"));
  EXPECT_FALSE(q.ignores("model.layers.01.self_attn.q_proj"));
  EXPECT_TRUE(q.ignores("model.layers.3.mlp.up_proj"));
  EXPECT_FALSE(q.ignores("model.layers.3.my_mlp.up_proj"));
  EXPECT_TRUE(q.has_patterns());
}

TEST(Quantization, OthersAreRefusedByName) {
  const auto refusal = [](const std::string& text) {
    return error_of([&] { read(text); }, ExitCode::unsupported);
  };
  expect_contains(refusal(R"({"quant_method": "gptq", "bits": 4})"), "quant_method 'gptq' is not supported");
  expect_contains(refusal(R"({"quant_method": "compressed-tensors", "format": "pack-quantized"})"),
                  "'pack-quantized'");
  expect_contains(refusal(compressed(R"({"num_bits": 4, "type": "float", "strategy": "tensor"})")),
                  "weights.num_bits '4'");
  expect_contains(refusal(compressed(R"({"num_bits": 8, "type": "int", "strategy": "tensor"})")),
                  "weights.type 'int'");
  expect_contains(refusal(compressed(scheme("group", R"(, "group_size": 32)"))), "weights.strategy 'group'");
  expect_contains(refusal(compressed(scheme("tensor", R"(, "dynamic": true)"))), "weights.dynamic");
  expect_contains(refusal(compressed(scheme("tensor"), scheme("channel", R"(, "dynamic": false)"))),
                  "input_activations.strategy 'channel'");
  expect_contains(refusal(compressed(scheme("tensor"), "null", R"(, "kv_cache_scheme": {"num_bits": 8})")),
                  "kv_cache_scheme");
  expect_contains(
      refusal(compressed(scheme("tensor"), "null", R"(, "sparsity_config": {"format": "sparse-24"})")),
      "'sparse-24'");
  expect_contains(refusal(R"({"quant_method": "fp8", "fmt": "e5m2"})"), "fmt 'e5m2'");
  expect_contains(refusal(R"({"quant_method": "fp8", "activation_scheme": "token"})"),
                  "activation_scheme 'token'");
}

TEST(Quantization, ContradictionsAreRefused) {
  const auto refusal = [](const std::string& text) { return error_of([&] { read(text); }); };
  expect_contains(refusal("[]"), "an object");
  expect_contains(refusal("{}"), "quant_method");
  expect_contains(refusal(R"({"quant_method": "compressed-tensors", "format": "float-quantized"})"),
                  "config_groups");
  for (const char* size : {"[128]", "[0, 128]", "[128, -1]", "[4294967296, 128]", "[1, 2, 3]"})
    expect_contains(refusal(std::string(R"({"quant_method": "fp8", "weight_block_size": )") + size + "}"),
                    "weight_block_size is [");
}

TEST(Quantization, WhatIsWrittenReadsBack) {
  Quantization q;
  q.ignore = {"lm_head", "model.layers.0.mlp.up_proj"};
  for (const Granularity kind : {Granularity::tensor, Granularity::row})
    for (const auto inputs : {Quantization::Inputs::unquantized, Quantization::Inputs::dynamic,
                              Quantization::Inputs::static_tensor}) {
      q.weights = {kind};
      q.inputs = inputs;
      const auto back =
          read_quantization(JsonObject::parse(with_quantization(R"({"model_type": "llama"})", q), "c"));
      ASSERT_TRUE(back);
      EXPECT_EQ(back->weights, q.weights);
      EXPECT_EQ(back->inputs, q.inputs);
      EXPECT_EQ(back->ignore, q.ignore);
    }
  q.convention = Quantization::Convention::fp8;
  q.weights = {Granularity::block, 128, 128};
  q.inputs = Quantization::Inputs::dynamic;
  const auto back = read_quantization(JsonObject::parse(with_quantization("{}", q), "c"));
  EXPECT_EQ(back->weights, q.weights);
  EXPECT_EQ(back->convention, q.convention);
  EXPECT_EQ(back->ignore, q.ignore);
}

}  // namespace
}  // namespace octavo
