// SPDX-License-Identifier: Apache-2.0
// Small models with awkward sizes and random values everywhere, and batches with ignored targets.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "octavo/base/cpu.h"
#include "octavo/base/rng.h"
#include "octavo/nn/transformer.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/loss_scaler.h"

namespace octavo {

inline ModelConfig tiny_gpt2(bool tied = true) {
  ModelConfig c;
  c.family = Family::gpt2;
  c.vocab_size = 37;
  c.context = 19;
  c.width = 24;
  c.layers = 2;
  c.heads = c.kv_heads = 3;
  c.head_dim = 8;
  c.ffn = 52;
  c.tied_head = tied;
  return c;
}

inline ModelConfig tiny_llama(bool tied = false) {
  ModelConfig c;
  c.family = Family::llama;
  c.vocab_size = 41;
  c.context = 23;
  c.width = 20;
  c.layers = 2;
  c.heads = 6;
  c.kv_heads = 2;
  c.head_dim = 10;  // heads * head_dim is not the width
  c.ffn = 44;
  c.activation = Activation::silu;
  c.norm_eps = 1e-6;
  c.rope_theta = 500.0;  // small, so that every pair of a short sequence turns
  c.tied_head = tied;
  return c;
}

/// Every scheme with what is its own; munit with plain values of everything.
inline ModelConfig tiny_octavo(Scheme scheme = Scheme::munit) {
  ModelConfig c;
  c.family = Family::octavo;
  c.vocab_size = 43;
  c.context = 21;
  c.width = 24;
  c.layers = 2;
  c.heads = c.kv_heads = 3;
  c.head_dim = 8;
  c.ffn = 52;
  c.rope_theta = 500.0;
  c.tied_head = false;
  c.scheme = scheme;
  const SchemeDefaults own = defaults_of(scheme);
  c.placement = own.placement;
  c.residual = own.residual;
  c.init_std = own.init_std;
  c.final_norm = own.final_norm;
  c.tau = c.residual == Residual::fixed ? 0.3 : 0;
  return c;
}

/// Wide enough for 8-bit statistics to mean something.
inline ModelConfig larger(ModelConfig c) {
  c.vocab_size = 211;
  c.context = 48;
  c.width = 96;
  c.heads = 6;
  c.kv_heads = c.family == Family::llama ? 2 : 6;
  c.head_dim = 16;
  c.ffn = 224;
  return c;
}

/// Tokens, targets (every fifth ignored) and positions of `batch` sequences.
struct TestBatch {
  int64_t batch, seq;
  std::vector<int32_t> tokens, targets, positions;
  int64_t counted = 0;

  TestBatch(const ModelConfig& c, int64_t batch_, int64_t seq_, uint64_t seed = 5, bool ignore = true)
      : batch(batch_), seq(seq_) {
    const Rng rng(seed, 99);
    for (int64_t r = 0; r < batch * seq; ++r) {
      const uint64_t words = rng.integer(static_cast<uint64_t>(r)),
                     vocab = static_cast<uint64_t>(c.vocab_size);
      tokens.push_back(static_cast<int32_t>((words & 0xffffffff) % vocab));
      targets.push_back(ignore && r % 5 == 3 ? -100 : static_cast<int32_t>((words >> 32) % vocab));
      positions.push_back(static_cast<int32_t>(r % seq));
      counted += targets.back() != -100;
    }
  }
  Batch view() const { return {batch, seq, tokens.data(), positions.data()}; }
  /// The sequences [first, first + count).
  TestBatch part(int64_t first, int64_t count) const {
    TestBatch p = *this;
    const auto cut = [&](std::vector<int32_t>& v) {
      v = std::vector<int32_t>(v.begin() + first * seq, v.begin() + (first + count) * seq);
    };
    cut(p.tokens);
    cut(p.targets);
    cut(p.positions);
    p.batch = count;
    p.counted = 0;
    for (const int32_t t : p.targets) p.counted += t != -100;
    return p;
  }
};

/// Every parameter random: zero biases and unit gains would hide mistakes. `gain` scales the matrices, which
/// keep unit variance where the scheme wants it.
inline void randomize(Transformer& model, uint64_t seed = 1, double gain = 1.0) {
  uint64_t stream = 1000;
  for (Parameter& p : model.parameters().all()) {
    const Rng rng(seed, ++stream);
    const bool matrix = p.decay, norm_gain = !matrix && p.init == Init::ones;
    const bool unit = matrix && keeps_unit_scale(model.config());
    const double sigma = unit ? gain : matrix ? gain / std::sqrt(static_cast<double>(p.cols)) : 0.2;
    std::vector<float> values(static_cast<size_t>(p.size()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<float>((norm_gain ? 1.0 : 0.0) + sigma * rng.normal(i));
    model.set_parameter(p, values.data());
  }
}

/// A model made for training, with its team.
struct TestModel {
  ThreadPool pool;
  Transformer model;

  TestModel(const ModelConfig& config, const std::string& recipe, const Limits& limits, int threads = 2)
      : TestModel(config, load_recipe(recipe), limits, threads) {}
  TestModel(const ModelConfig& config, const Recipe& recipe, const Limits& limits, int threads = 2)
      : pool(threads), model(config, recipe, Purpose::training, pool) {
    model.allocate(limits);
    randomize(model);
  }

  /// Of the recipe; of a dynamic one the first.
  double loss_scale() const {
    return LossScaler(model.recipe().loss, model.limits().batch * model.limits().seq, model.config().width)
        .scale(LossScaleState{});
  }

  /// Mean loss of the batch; gradients of the mean, times the recipe's loss scale, are added to what is
  /// there.
  double train(const TestBatch& b, int64_t counted = 0) {
    if (counted == 0) counted = b.counted;
    const double scale = loss_scale() / static_cast<double>(counted);
    const LossSum sum = model.train(b.view(), b.targets.data(), static_cast<float>(scale));
    EXPECT_EQ(sum.tokens, b.counted);
    return sum.loss / static_cast<double>(counted);
  }
  std::map<std::string, std::vector<float>> gradients() {
    std::map<std::string, std::vector<float>> all;
    for (const Parameter& p : model.parameters().all())
      all[p.name] = std::vector<float>(p.grad, p.grad + p.size());
    return all;
  }
};

inline double dot(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}
inline double length(const std::vector<float>& a) { return std::sqrt(dot(a, a)); }
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    sum += d * d;
  }
  return std::sqrt(sum);
}

}  // namespace octavo
