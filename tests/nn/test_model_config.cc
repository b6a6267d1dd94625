// SPDX-License-Identifier: Apache-2.0
#include <functional>

#include "nn_testing.h"
#include "octavo/base/error.h"
#include "octavo/train/run_config.h"

namespace octavo {
namespace {

TEST(ModelConfig, PublishedModelsHaveTheirPublishedSizes) {
  // As reported by the models' pages; for Cerebras-GPT summed by hand from the shapes in arXiv:2304.03208,
  // table 1.
  const std::vector<std::pair<const char*, int64_t>> sizes{
      {"gpt2-124m", 124439808},        {"llama2-7b", 6738415616},   {"llama2-13b", 13015864320},
      {"llama2-70b", 68976648192},     {"smollm2-135m", 134515008}, {"cerebras-gpt-111m", 111050496},
      {"cerebras-gpt-256m", 255977024}};
  for (const auto& [name, count] : sizes)
    EXPECT_EQ(parameter_count(model_config(load_preset(name), 0)), count) << name;
}

TEST(ModelConfig, EveryPresetIsValidAndCountsWhatItRegisters) {
  ThreadPool pool(1);
  for (const std::string& name : preset_names()) {
    const ModelConfig config = model_config(load_preset(name), 4096);
    Transformer model(config, load_recipe("bf16"), Purpose::training, pool);
    EXPECT_EQ(model.parameters().total_size(), parameter_count(config)) << name;
  }
}

TEST(ModelConfig, WithoutEmbeddings) {
  const ModelConfig c = tiny_gpt2();
  EXPECT_EQ(parameter_count(c) - parameter_count(c, true), (c.vocab_size + c.context) * c.width);
  const ModelConfig l = tiny_llama(false);
  EXPECT_EQ(parameter_count(l) - parameter_count(l, true), 2 * l.vocab_size * l.width);
}

TEST(ModelConfig, FlopsOfALargeModelAreSixPerParameterAndToken) {
  const ModelConfig config = model_config(load_preset("gpt2-124m"), 0);
  const ModelFlops flops = training_flops(config, 4, 1024);
  // 6 N D (arXiv:2001.08361) with N: the matrices, the head among them; biases, norms and positions do no
  // GEMM.
  const double matrices = 85e6 + 50257.0 * 768;
  EXPECT_NEAR((flops.linear + flops.head) / (6 * matrices * 4096), 1, 0.01);
  EXPECT_NEAR(flops.attention, 3.5 * 4 * 4096 * 512.5 * 768 * 12, 1);
}

void expect_refused(const ModelConfig& config, const std::string& key) {
  try {
    validate(config, "some/config.json");
    ADD_FAILURE() << "accepted, expected a complaint about " << key;
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("some/config.json: ", 0), 0u) << error.what();
    EXPECT_NE(std::string(error.what()).find(key), std::string::npos) << error.what();
  }
}

TEST(ModelConfig, ErrorsNameTheKey) {
  const auto broken = [](ModelConfig base, const std::function<void(ModelConfig&)>& change) {
    change(base);
    return base;
  };
  validate(tiny_gpt2(), "fine");
  validate(tiny_llama(), "fine");
  for (const int64_t bad : {int64_t{0}, int64_t{-1}, int64_t{1} << 40}) {
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.vocab_size = bad; }), "vocab_size");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.context = bad; }), "context");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.width = bad; }), "width");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.layers = bad; }), "layers");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.heads = bad; }), "heads");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.kv_heads = bad; }), "kv_heads");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.head_dim = bad; }), "head_dim");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.ffn = bad; }), "ffn");
  }
  expect_refused(broken(tiny_llama(), [](ModelConfig& c) { c.kv_heads = 4; }), "kv_heads");
  expect_refused(broken(tiny_llama(), [](ModelConfig& c) { c.head_dim = 7; }), "head_dim");
  expect_refused(broken(tiny_gpt2(), [](ModelConfig& c) { c.kv_heads = 1; }), "kv_heads");
  expect_refused(broken(tiny_gpt2(), [](ModelConfig& c) { c.width = 25; }), "width");
  for (const double bad : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.norm_eps = bad; }), "norm_eps");
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.rope_theta = bad; }), "rope_theta");
  }
  for (const double bad : {-1.0, std::nan(""), HUGE_VAL})
    expect_refused(broken(tiny_llama(), [&](ModelConfig& c) { c.init_std = bad; }), "init_std");
}

TEST(Recipes, WhatTheEngineCannotDoIsRefused) {
  ThreadPool pool(1);
  const Recipe recipe = parse_recipe(
      "[gemm]\nformat = 'e4m3'\ngranularity = 'block:1x128'\nscaling.kind = 'current'\n", "blocks.toml");
  EXPECT_THROW(Transformer(tiny_gpt2(), recipe, Purpose::training, pool), Error);
}

}  // namespace
}  // namespace octavo
