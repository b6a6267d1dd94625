// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "nn_testing.h"

namespace octavo {
namespace {

class SameBits : public testing::TestWithParam<const char*> {};

TEST_P(SameBits, ForAnyNumberOfThreads) {
  for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
    SCOPED_TRACE(to_string(config.family));
    const TestBatch batch(config, 3, 45);
    double loss = 0;
    std::map<std::string, std::vector<float>> gradients;
    for (const int threads : {1, 2, 3, 5}) {
      TestModel engine(config, GetParam(), {3, 45, 0}, threads);
      const double found = engine.train(batch);
      const auto all = engine.gradients();
      if (threads == 1) {
        loss = found;
        gradients = all;
        continue;
      }
      EXPECT_EQ(found, loss) << threads << " threads";
      for (const auto& [name, gradient] : gradients)
        EXPECT_EQ(std::memcmp(gradient.data(), all.at(name).data(), gradient.size() * sizeof(float)), 0)
            << name << " with " << threads << " threads";
    }
  }
}

TEST_P(SameBits, EvaluationIsTrainingWithoutBackward) {
  for (const ModelConfig& config : {tiny_gpt2(), tiny_llama(), tiny_octavo()}) {
    const TestBatch batch(config, 3, 17);
    TestModel engine(config, GetParam(), {3, 17, 0});
    const LossSum evaluated = engine.model.evaluate(batch.view(), batch.targets.data());
    for (const auto& [name, gradient] : engine.gradients()) EXPECT_EQ(length(gradient), 0) << name;
    const LossSum trained = engine.model.train(batch.view(), batch.targets.data(), 1.0f);
    EXPECT_EQ(evaluated.loss, trained.loss);
    EXPECT_EQ(evaluated.tokens, trained.tokens);
  }
}

TEST_P(SameBits, SmallerBatchesAfterALargeOne) {
  if (load_recipe(GetParam()).role(Role::gemm_fprop_input).scaling.kind == ScalingKind::delayed)
    GTEST_SKIP() << "its scales remember the large batch, as they should";
  for (const ModelConfig& config : {tiny_gpt2(), tiny_llama(), tiny_octavo()}) {
    const TestBatch large(config, 4, 17), small(config, 1, 5, 8);
    TestModel used(config, GetParam(), {4, 17, 0}), fresh(config, GetParam(), {4, 17, 0});
    used.train(large);
    used.model.parameters().zero_gradients(used.pool);
    EXPECT_EQ(used.train(small), fresh.train(small));
    EXPECT_EQ(used.gradients(), fresh.gradients());
  }
}

TEST_P(SameBits, LoggingStatisticsChangesNothing) {
  const ModelConfig config = tiny_llama();
  const TestBatch batch(config, 2, 17);
  TestModel quiet(config, GetParam(), {2, 17, 0}), logged(config, GetParam(), {2, 17, 0});
  std::vector<TensorRecord> records;
  logged.model.pass().records = &records;
  EXPECT_EQ(quiet.train(batch), logged.train(batch));
  EXPECT_EQ(quiet.gradients(), logged.gradients());
  EXPECT_EQ(records.empty(), !carries_scale(quiet.model.recipe().role(Role::gemm_fprop_input).format));
}

INSTANTIATE_TEST_SUITE_P(Recipes, SameBits,
                         testing::Values("fp32", "bf16", "fp8-amax", "fp8-cscale", "fp8-delayed", "fp8-mse",
                                         "fp8-amax-fp16", "fp8-row", "fp8-row-hp-wgrad"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Initialization, IsAPureFunctionOfTheSeed) {
  const auto values = [](uint64_t seed, int threads) {
    TestModel engine(tiny_gpt2(), "fp32", {1, 4, 0}, threads);
    engine.model.initialize(seed);
    std::vector<float> all;
    for (const Parameter& p : engine.model.parameters().all())
      all.insert(all.end(), p.value, p.value + p.size());
    return all;
  };
  EXPECT_EQ(values(3, 1), values(3, 3));
  EXPECT_NE(values(3, 1), values(4, 1));
}

TEST(Initialization, HasTheStandardDeviationsOfGpt2) {
  ModelConfig config = larger(tiny_gpt2());
  config.layers = 8;
  TestModel engine(config, "fp32", {1, 4, 0});
  engine.model.initialize(1);
  for (const Parameter& p : engine.model.parameters().all()) {
    double square = 0;
    for (int64_t i = 0; i < p.size(); ++i)
      square += static_cast<double>(p.value[i]) * static_cast<double>(p.value[i]);
    const double sigma = std::sqrt(square / static_cast<double>(p.size()));
    const bool residual = p.name.find("c_proj.weight") != std::string::npos;
    if (p.decay)
      EXPECT_NEAR(sigma, residual ? 0.02 / 4 : 0.02, residual ? 0.0002 : 0.0008) << p.name;
    else
      EXPECT_EQ(sigma, p.name.find(".bias") == std::string::npos ? 1.0 : 0.0) << p.name;
  }
}

}  // namespace
}  // namespace octavo
