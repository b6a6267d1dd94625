// SPDX-License-Identifier: Apache-2.0
// The engine in FP32 against the plain model in double: loss, and gradients against its finite differences.
#include "nn_testing.h"
#include "reference_model.h"

namespace octavo {
namespace {

struct Case {
  const char* name;
  ModelConfig config;
};

std::vector<Case> cases() {
  ModelConfig erf = tiny_gpt2(true), relu = tiny_gpt2(true), one_head = tiny_llama(true);
  erf.activation = Activation::gelu;
  relu.activation = Activation::relu;
  one_head.kv_heads = 1;
  ModelConfig learned = tiny_octavo(), post_norm = tiny_octavo(), mean = tiny_octavo(),
              fixed_sp = tiny_octavo(Scheme::sp);
  ModelConfig roots = tiny_octavo();
  roots.sqrt_softmax = true;
  learned.learned_positions = learned.tied_head = true;
  post_norm.final_norm = false;
  post_norm.residual = Residual::sum;
  post_norm.kv_heads = 1;
  mean.residual = Residual::running_mean;
  mean.multipliers = false;
  mean.init_std = 0.2;
  fixed_sp.residual = Residual::fixed;
  fixed_sp.tau = 0.3;
  return {{"gpt2_tied", tiny_gpt2(true)},
          {"gpt2_untied", tiny_gpt2(false)},
          {"gpt2_erf", erf},
          {"gpt2_relu", relu},
          {"llama_untied", tiny_llama(false)},
          {"llama_tied", tiny_llama(true)},
          {"llama_one_kv_head", one_head},
          {"munit", tiny_octavo()},
          {"munit_learned_tied", learned},
          {"munit_sqrt_softmax", roots},
          {"munit_without_final_norm", post_norm},
          {"munit_running_mean", mean},
          {"sp", tiny_octavo(Scheme::sp)},
          {"sp_fixed_residual", fixed_sp},
          {"mup", tiny_octavo(Scheme::mup)},
          {"unit", tiny_octavo(Scheme::unit)},
          {"umup", tiny_octavo(Scheme::umup)}};
}

class Reference : public testing::TestWithParam<Case> {};

TEST_P(Reference, LossAgrees) {
  const ModelConfig config = GetParam().config;
  for (const int64_t seq : {int64_t{1}, int64_t{2}, int64_t{13}, config.context}) {
    const TestBatch batch(config, 3, seq);
    TestModel engine(config, "fp32", {3, seq, 0});
    const ReferenceModel reference(config, engine.model.parameters());
    const double expected = reference.loss(batch.tokens, batch.targets, 3, seq);
    EXPECT_NEAR(engine.train(batch), expected, 1e-6 * expected) << "seq " << seq;
  }
}

// Central differences of the double model: with h = 1e-5 their own error is near 1e-9 of the gradient.
TEST_P(Reference, GradientsAgreeWithFiniteDifferences) {
  const ModelConfig config = GetParam().config;
  const TestBatch batch(config, 2, 13);
  TestModel engine(config, "fp32", {2, 13, 0});
  ReferenceModel reference(config, engine.model.parameters());
  engine.train(batch);
  const double h = 1e-5;
  const auto slope = [&](const std::string& name, const std::vector<std::pair<size_t, double>>& direction) {
    std::vector<double>& w = reference.weight(name);
    const std::vector<double> saved = w;
    double at[2];
    for (const int side : {0, 1}) {
      for (const auto& [i, d] : direction) w[i] = saved[i] + (side ? h : -h) * d;
      at[side] = reference.loss(batch.tokens, batch.targets, batch.batch, batch.seq);
    }
    w = saved;
    return (at[1] - at[0]) / (2 * h);
  };
  uint64_t stream = 0;
  for (const auto& [name, gradient] : engine.gradients()) {
    const Rng rng(77, ++stream);
    const double norm = length(gradient);
    ASSERT_GT(norm, 1e-6) << name << " has no gradient";
    for (uint64_t n = 0; n < 6; ++n) {
      const size_t i = rng.integer(n) % gradient.size();
      EXPECT_NEAR(static_cast<double>(gradient[i]), slope(name, {{i, 1.0}}), 1e-5 * norm)
          << name << " element " << i;
    }
    std::vector<std::pair<size_t, double>> direction;
    double expected = 0, squares = 0;
    for (size_t i = 0; i < gradient.size(); ++i) {
      const double d = rng.normal(1000 + i);
      direction.push_back({i, d});
      squares += d * d;
    }
    for (auto& [i, d] : direction) expected += (d /= std::sqrt(squares)) * static_cast<double>(gradient[i]);
    EXPECT_NEAR(expected, slope(name, direction), 1e-5 * norm) << name << " along a random direction";
  }
}

TEST_P(Reference, TwoMicroBatchesAreOneTwiceTheSize) {
  const ModelConfig config = GetParam().config;
  const TestBatch batch(config, 4, 11);
  TestModel whole(config, "fp32", {4, 11, 0}), halves(config, "fp32", {2, 11, 0});
  const double expected = whole.train(batch);
  const double loss =
      halves.train(batch.part(0, 2), batch.counted) + halves.train(batch.part(2, 2), batch.counted);
  EXPECT_NEAR(loss, expected, 1e-7 * expected);
  const auto a = whole.gradients(), b = halves.gradients();
  for (const auto& [name, gradient] : a)
    EXPECT_LT(distance(gradient, b.at(name)), 2e-6 * length(gradient)) << name;
}

TEST_P(Reference, OnlyIgnoredTargetsGiveNothing) {
  const ModelConfig config = GetParam().config;
  TestBatch batch(config, 2, 7);
  std::fill(batch.targets.begin(), batch.targets.end(), -100);
  TestModel engine(config, "fp32", {2, 7, 0});
  const LossSum sum = engine.model.train(batch.view(), batch.targets.data(), 1.0f);
  EXPECT_EQ(sum.tokens, 0);
  EXPECT_EQ(sum.loss, 0);
  for (const auto& [name, gradient] : engine.gradients()) EXPECT_EQ(length(gradient), 0) << name;
}

INSTANTIATE_TEST_SUITE_P(Models, Reference, testing::ValuesIn(cases()),
                         [](const auto& test) { return std::string(test.param.name); });

}  // namespace
}  // namespace octavo
