// SPDX-License-Identifier: Apache-2.0
// Gradients in fewer bits point where the FP32 ones do, and every instruction set computes the same thing.
#include "nn_testing.h"

namespace octavo {
namespace {

std::map<std::string, std::vector<float>> gradients_of(const ModelConfig& config, const std::string& recipe,
                                                       double& loss) {
  const TestBatch batch(config, 3, 47);
  TestModel engine(config, recipe, {3, 47, 0});
  loss = engine.train(batch);
  auto gradients = engine.gradients();
  const double scale = engine.loss_scale();
  for (auto& [name, gradient] : gradients)
    for (float& g : gradient) g /= static_cast<float>(scale);
  return gradients;
}

struct Bound {
  const char* recipe;
  double loss, cosine;
};

class RecipeGradients : public testing::TestWithParam<Bound> {};

TEST_P(RecipeGradients, PointWhereFp32Does) {
  const Bound bound = GetParam();
  for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
    SCOPED_TRACE(to_string(config.family));
    double exact_loss = 0, loss = 0;
    const auto exact = gradients_of(config, "fp32", exact_loss);
    const auto narrow = gradients_of(config, bound.recipe, loss);
    EXPECT_NE(loss, exact_loss);
    EXPECT_NEAR(loss, exact_loss, bound.loss * exact_loss);
    for (const auto& [name, gradient] : exact) {
      const auto& other = narrow.at(name);
      EXPECT_GT(dot(gradient, other) / (length(gradient) * length(other)), bound.cosine) << name;
      EXPECT_NEAR(length(other) / length(gradient), 1, 0.1) << name;
    }
  }
}

// The worst tensor of these models has a cosine near 0.97 in FP8: a query projection, whose gradient is a
// small difference.
INSTANTIATE_TEST_SUITE_P(Recipes, RecipeGradients,
                         testing::Values(Bound{"bf16", 1e-3, 0.999}, Bound{"fp8-amax", 5e-3, 0.95},
                                         Bound{"fp8-amax-fnuz", 5e-3, 0.95}, Bound{"fp8-cscale", 5e-3, 0.95},
                                         Bound{"fp8-cscale:5", 5e-3, 0.95}, Bound{"fp8-delayed", 5e-3, 0.95},
                                         Bound{"fp8-mse", 5e-3, 0.95}, Bound{"fp8-amax-fp16", 5e-3, 0.95},
                                         Bound{"fp8-row", 5e-3, 0.95}, Bound{"fp8-row-hp-wgrad", 5e-3, 0.95}),
                         [](const auto& test) {
                           std::string name = test.param.recipe;
                           std::replace_if(
                               name.begin(), name.end(), [](char c) { return c == '-' || c == ':'; }, '_');
                           return name;
                         });

TEST(InstructionSets, AgreeOnLossAndGradients) {
  struct Tolerance {
    const char* recipe;
    double loss, gradient;
  };
  // In BF16 and FP8 a sum that falls on the other side of a rounding boundary moves a whole step. AMX
  // attention also rounds probabilities to BF16, which moves more FP8 codes; against FP32 its gradients are
  // as good as the others' (see above).
  for (const auto& [recipe, loss_bound, gradient_bound] :
       {Tolerance{"fp32", 1e-6, 1e-5}, Tolerance{"bf16", 1e-3, 0.02}, Tolerance{"fp8-amax", 2e-3, 0.2},
        Tolerance{"fp8-row", 2e-3, 0.2}, Tolerance{"fp8-row-hp-wgrad", 2e-3, 0.2}}) {
    for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
      set_max_isa(Isa::scalar);
      double base = 0;
      const auto expected = gradients_of(config, recipe, base);
      for (const Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx}) {
        if (isa > cpu_isa()) continue;
        SCOPED_TRACE(std::string(recipe) + " " + to_string(config.family) + " " + to_string(isa));
        set_max_isa(isa);
        double loss = 0;
        const auto found = gradients_of(config, recipe, loss);
        EXPECT_NEAR(loss, base, loss_bound * base);
        for (const auto& [name, gradient] : expected)
          EXPECT_LT(distance(gradient, found.at(name)), gradient_bound * length(gradient)) << name;
      }
      set_max_isa(cpu_isa());
    }
  }
}

}  // namespace
}  // namespace octavo
