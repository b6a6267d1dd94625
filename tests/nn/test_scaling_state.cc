// SPDX-License-Identifier: Apache-2.0
// A model that is restored computes with the very codes the saved one had, also where a scale or a rounding
// depends on what came before.

#include <cmath>
#include <cstring>

#include "nn_testing.h"
#include "octavo/train/optimizer.h"

namespace octavo {
namespace {

Recipe custom(const char* keys) {
  return parse_recipe(std::string("name = \"custom\"\n[gemm]\nformat = \"e4m3\"\n") + keys, "custom.toml");
}

class Restored : public testing::TestWithParam<const char*> {};

TEST_P(Restored, GoesOnWithTheSameBits) {
  const ModelConfig config = larger(tiny_llama());
  const Recipe recipe = custom(GetParam());
  const TestBatch batch(config, 2, 21);
  RunConfig::Optim optim;
  optim.lr = 1;
  optim.weight_decay = 0.5;
  const Optimizer optimizer(optim);
  const auto step = [&](TestModel& m, int64_t index) {
    m.model.pass().seed = 1234 + static_cast<uint64_t>(index);
    m.model.pass().quantizations = 0;
    m.model.parameters().zero_gradients(m.pool);
    const double loss = m.train(batch);
    // Large and shrinking steps: the largest values of the weights go up and down.
    optimizer.step(m.model, index + 1, index % 2 ? 0.001 : 0.05,
                   std::sqrt(optimizer.gradient_squares(m.model)));
    m.model.refresh_weights();
    return loss;
  };
  TestModel first(config, recipe, {2, 21, 0}), second(config, recipe, {2, 21, 0});
  for (int64_t i = 0; i < 5; ++i) step(first, i);

  second.model.pass().seed = 1234 + 4;
  for (Parameter& p : second.model.parameters().all()) {
    const Parameter& from = *first.model.parameters().find(p.name);
    for (StateTensor Parameter::*moment : {&Parameter::moment1, &Parameter::moment2})
      std::memcpy((p.*moment).at.data, (from.*moment).at.data, (p.*moment).bytes());
    std::copy(from.value, from.value + p.size(), p.value);
  }
  second.model.scaler().restore(first.model.scaler().state());
  second.model.requantize_weights();
  for (int64_t i = 5; i < 8; ++i) EXPECT_EQ(step(first, i), step(second, i)) << "step " << i;
}

INSTANTIATE_TEST_SUITE_P(Rules, Restored,
                         testing::Values("[gemm.scaling]\nkind = \"current\"\n",
                                         "[gemm.scaling]\nkind = \"delayed\"\nwindow = 3\n",
                                         "rounding = \"stochastic\"\n[gemm.scaling]\nkind = \"current\"\n"),
                         [](const auto& test) {
                           return std::string(test.index == 0   ? "Current"
                                              : test.index == 1 ? "Delayed"
                                                                : "Stochastic");
                         });

TEST(Stochastic, EveryStepDrawsAnew) {
  const ModelConfig config = larger(tiny_gpt2());
  const TestBatch batch(config, 2, 21);
  TestModel model(config, custom("rounding = \"stochastic\"\n[gemm.scaling]\nkind = \"current\"\n"),
                  {2, 21, 0});
  model.model.pass().seed = 1;
  const double one = model.train(batch);
  model.model.pass().seed = 2;
  model.model.pass().quantizations = 0;
  EXPECT_NE(one, model.train(batch));
}

}  // namespace
}  // namespace octavo
