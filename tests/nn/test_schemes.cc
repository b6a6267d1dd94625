// SPDX-License-Identifier: Apache-2.0
// Parametrizations: the rules as tables, unit variance at initialization, and FP8 without scales.
#include <cstring>

#include "nn_testing.h"
#include "octavo/base/error.h"
#include "octavo/kernels/loss.h"

namespace octavo {
namespace {

// arXiv:2502.05967, tables 2 and 6 and section 3.2; muP: arXiv:2203.03466; u-muP: arXiv:2407.17465.
TEST(Schemes, RulesAreThoseOfThePapers) {
  ModelConfig c = tiny_octavo(Scheme::munit);
  EXPECT_EQ(layer_rule(c, Layer::input, 1).init_std, 1);
  EXPECT_EQ(layer_rule(c, Layer::hidden, 64).init_std, 1);
  EXPECT_EQ(layer_rule(c, Layer::hidden, 64).multiplier, 1.0 / 8);
  EXPECT_EQ(layer_rule(c, Layer::into_stream, 256).multiplier, 1.0 / 16);
  EXPECT_EQ(layer_rule(c, Layer::output, 64).multiplier, 1.0 / 64);
  EXPECT_EQ(layer_rule(c, Layer::input, 1).multiplier, 1);
  c.multipliers = false;
  EXPECT_EQ(layer_rule(c, Layer::hidden, 64).multiplier, 1);
  EXPECT_EQ(layer_rule(c, Layer::output, 64).multiplier, 1.0 / 64);
  ModelConfig mup = tiny_octavo(Scheme::mup);
  EXPECT_EQ(layer_rule(mup, Layer::hidden, 64).init_std, 1.0 / 8);
  EXPECT_EQ(layer_rule(mup, Layer::hidden, 64).multiplier, 1);
  EXPECT_EQ(attention_scale(mup), 1.0 / 8);
  EXPECT_DOUBLE_EQ(attention_scale(c), 1 / std::sqrt(8.0));
}

TEST(Schemes, HyperparametersGoFromWidthToWidth) {
  ModelConfig c = tiny_octavo(Scheme::munit);
  c.width = 1024;
  const auto lr = [&](Scheme scheme, Layer layer) {
    c.scheme = scheme;
    return transfer(c, layer, 256).lr;
  };
  EXPECT_EQ(lr(Scheme::munit, Layer::hidden), 0.5);
  EXPECT_EQ(lr(Scheme::munit, Layer::into_stream), 0.5);
  for (const Layer layer : {Layer::input, Layer::output, Layer::vector})
    EXPECT_EQ(lr(Scheme::munit, layer), 1);
  EXPECT_EQ(lr(Scheme::mup, Layer::hidden), 0.25);
  EXPECT_EQ(lr(Scheme::mup, Layer::output), 1);
  EXPECT_EQ(lr(Scheme::umup, Layer::hidden), 0.5);
  EXPECT_EQ(lr(Scheme::umup, Layer::input), 0.5);
  for (const Layer layer : {Layer::input, Layer::hidden, Layer::output, Layer::vector}) {
    EXPECT_EQ(lr(Scheme::sp, layer), 0.25);
    EXPECT_EQ(transfer(c, layer, 256).decay, 0.5);
    EXPECT_EQ(lr(Scheme::unit, layer), 1);
  }
  c.scheme = Scheme::munit;
  EXPECT_EQ(transfer(c, Layer::hidden, 256).decay, 1);
  EXPECT_EQ(transfer(c, Layer::hidden, 0).lr, 1);
  c.scheme = Scheme::sp;
  EXPECT_EQ(transfer(c, Layer::hidden, 1024).decay, 1);
}

TEST(Schemes, TauFallsWithDepthAndResidualsKeepUnitVariance) {
  EXPECT_EQ(default_tau(2), 0.4);
  EXPECT_EQ(default_tau(4), 0.4);
  EXPECT_EQ(default_tau(100), 0.1);
  for (int64_t layers = 2; layers < 120; ++layers) EXPECT_LE(default_tau(layers + 1), default_tau(layers));
  ModelConfig c = tiny_octavo();
  for (const Residual residual : {Residual::fixed, Residual::running_mean}) {
    c.residual = residual;
    for (int64_t n = 0; n < 8; ++n) {
      const ResidualFactors f = residual_factors(c, n);
      EXPECT_NEAR(f.skip * f.skip + f.branch * f.branch, 1, 1e-12);
    }
  }
  // The running mean gives the embedding and every branch the same weight.
  double weight = 1;
  for (int64_t n = 0; n < 5; ++n) weight *= residual_factors(c, n).skip;
  EXPECT_NEAR(weight, residual_factors(c, 4).branch, 1e-12);
}

/// Variances by place.
class Variances : public Probe {
 public:
  void see(const std::string& place, ConstMatrix values) override {
    double first = 0, second = 0;
    const int64_t n = values.rows * values.cols;
    for (int64_t r = 0; r < values.rows; ++r)
      for (int64_t c = 0; c < values.cols; ++c) {
        const double x = static_cast<double>(reinterpret_cast<const float*>(values.row(r))[c]);
        first += x;
        second += x * x;
      }
    all[place] = second / static_cast<double>(n) - std::pow(first / static_cast<double>(n), 2);
  }
  std::map<std::string, double> all;
};

/// Unit-variance streams and products of them at initialization, within 10 %, averaged over layers as the
/// paper draws it and at every layer up to what a few hundred columns leave to chance.
TEST(Schemes, UnitVarianceAtInitializationAtEveryWidth) {
  for (const int64_t width : {64, 256, 1024}) {
    SCOPED_TRACE(width);
    ModelConfig c = tiny_octavo();
    c.width = width;
    c.layers = 4;
    c.tau = 0.4;
    c.head_dim = 32;
    c.heads = c.kv_heads = width / 32;
    c.ffn = 4 * width;
    c.vocab_size = 1024;
    c.context = 64;
    ThreadPool pool(2);
    Transformer model(c, load_recipe("fp32"), Purpose::training, pool);
    Limits limits;
    limits.batch = 4;
    limits.seq = 64;
    model.allocate(limits);
    model.initialize(3);
    const TestBatch batch(c, 4, 64, 5, false);
    Variances seen;
    model.pass().probe = &seen;
    model.train(batch.view(), batch.targets.data(), static_cast<float>(width));
    model.pass().probe = nullptr;
    std::map<std::string, double> mean;
    for (const auto& [place, variance] : seen.all) {
      const std::string kind = place.substr(place.rfind('.'));
      if (kind == ".in" || kind == ".qkv" || kind == ".pre") {
        EXPECT_NEAR(variance, 1, width < 256 ? 0.25 : 0.1) << place;
        mean[kind] += variance / 4;
      }
    }
    for (const auto& [kind, variance] : mean) EXPECT_NEAR(variance, 1, 0.1) << kind;
    // The gradient by the last stream: of the loss summed over tokens, times the width.
    EXPECT_NEAR(seen.all.at("model.layers.3.dout"), 1, 0.1);
  }
}

/// Var(dX) = fan_out / fan_in Var(dY) for a product with one constant in all directions (table 2).
TEST(Schemes, GradientsOfOneLayer) {
  for (const auto& [in, out] : {std::pair{128, 128}, {128, 512}, {512, 128}}) {
    ModelConfig c = tiny_octavo();
    ThreadPool pool(2);
    Scaler scaler;
    ParameterSet parameters;
    const Recipe recipe = load_recipe("fp32");
    const Build build{c, recipe, scaler, parameters, Purpose::training, 0, 1};
    Linear layer("layer", {in, out, false, Layer::hidden, false}, build);
    Arena arena;
    parameters.plan(arena, {});
    layer.weight().plan(arena);
    const Arena::Block scratch = arena.reserve("workspace", size_t{1} << 24);
    arena.commit();
    parameters.bind(arena);
    layer.weight().bind(arena);
    parameters.initialize(7, scaler, pool);
    Workspace workspace(arena.at<void>(scratch), size_t{1} << 24);
    Pass pass(pool, workspace, scaler);
    layer.weight().refresh(pass);
    constexpr int64_t kRows = 64;
    std::vector<float> dy(static_cast<size_t>(kRows * out)), dx(static_cast<size_t>(kRows * in));
    const Rng rng(11, 1);
    for (size_t i = 0; i < dy.size(); ++i) dy[i] = static_cast<float>(rng.normal(i));
    const WorkspaceScope scope(workspace);
    const Operand codes = layer.grad_codes(pass, dense(dy.data(), Format::fp32, kRows, out), nullptr);
    layer.input_grad(pass, codes, dense(dx.data(), Format::fp32, kRows, in), false);
    EXPECT_NEAR(dot(dx, dx) / static_cast<double>(dx.size()), static_cast<double>(out) / in,
                0.1 * static_cast<double>(out) / in);
  }
}

TEST(Munit, CastsAsItIsAndLearnsTheGradientOfFp32) {
  const ModelConfig config = larger(tiny_octavo());
  const TestBatch batch(config, 3, 45);
  TestModel wide(config, "fp32", {3, 45, 0}), narrow(config, "munit", {3, 45, 0});
  const double loss = wide.train(batch);
  EXPECT_NEAR(narrow.train(batch), loss, 2e-3 * loss);
  const auto expected = wide.gradients(), found = narrow.gradients();
  for (const auto& [name, gradient] : expected) {
    EXPECT_GT(dot(gradient, found.at(name)), 0.95 * length(gradient) * length(found.at(name))) << name;
    // The loss multiplier is a power of two, tokens x width rounded.
    EXPECT_NEAR(length(found.at(name)) / length(gradient), narrow.loss_scale(), 0.15 * narrow.loss_scale())
        << name;
  }
  int exponent = 0;
  EXPECT_EQ(std::frexp(narrow.loss_scale(), &exponent), 0.5);
  EXPECT_NEAR(std::log2(narrow.loss_scale()), std::log2(3.0 * 45 * 96), 0.5);
  for (int slot = 0; slot < narrow.model.scaler().size(); ++slot)
    EXPECT_EQ(narrow.model.scaler().last_scale(slot), 1.0f);
}

TEST(Munit, RecomputationTeamsAndPackingChangeNoBit) {
  ModelConfig config = larger(tiny_octavo());
  config.layers = 3;
  for (const bool final_norm : {false, true}) {
    config.final_norm = final_norm;
    const TestBatch batch(config, 3, 45);
    TestModel plain(config, "munit", {3, 45, 0}), alone(config, "munit", {3, 45, 0}, 1),
        hidden(config, "munit", {3, 45, 0, {true, true, true, false}}),
        block(config, "munit", {3, 45, 0, {true, false, false, false}}),
        packed(config, "munit", {3, 45, 0, {}, true});
    packed.model.refresh_weights();
    const double loss = plain.train(batch);
    const auto expected = plain.gradients();
    for (TestModel* other : {&alone, &hidden, &block, &packed}) {
      EXPECT_EQ(other->train(batch), loss);
      for (const auto& [name, gradient] : other->gradients())
        EXPECT_EQ(std::memcmp(gradient.data(), expected.at(name).data(), gradient.size() * sizeof(float)), 0)
            << name;
    }
    EXPECT_LT(block.model.memory().categories().at("activations"),
              plain.model.memory().categories().at("activations"));
  }
}

TEST(Munit, NeedsAUnitScaledModel) {
  ThreadPool pool(1);
  const auto refusal = [&](const ModelConfig& config) {
    try {
      Transformer(config, load_recipe("munit"), Purpose::training, pool);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(refusal(tiny_gpt2()).find("unit variance"), std::string::npos);
  EXPECT_NE(refusal(tiny_llama()).find("not llama"), std::string::npos);
  EXPECT_NE(refusal(tiny_octavo(Scheme::sp)).find("scheme sp"), std::string::npos);
  EXPECT_NE(refusal(tiny_octavo(Scheme::mup)).find("scheme mup"), std::string::npos);
  for (const Scheme scheme : {Scheme::unit, Scheme::umup, Scheme::munit})
    EXPECT_EQ(refusal(tiny_octavo(scheme)), "");
}

}  // namespace
}  // namespace octavo
