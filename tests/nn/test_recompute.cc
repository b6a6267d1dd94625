// SPDX-License-Identifier: Apache-2.0
// What is computed again in the backward pass must come out as it was, and must not be kept.
#include <cstring>

#include "nn_testing.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

constexpr Kept kChoices[] = {{true, true, false, true},
                             {true, true, true, false},
                             {true, true, false, false},
                             {true, false, false, false}};

class Recompute : public testing::TestWithParam<const char*> {};

TEST_P(Recompute, GivesTheSameBitsInLessMemory) {
  for (ModelConfig config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
    SCOPED_TRACE(to_string(config.family));
    config.layers = 3;
    const TestBatch batch(config, 3, 45);
    TestModel keeps(config, GetParam(), {3, 45, 0});
    const double loss = keeps.train(batch);
    const auto expected = keeps.gradients();
    const size_t activations = keeps.model.memory().categories().at("activations");
    for (const Kept& kept : kChoices) {
      SCOPED_TRACE(testing::Message()
                   << "inner " << kept.inner << " normed " << kept.normed << " hidden " << kept.hidden);
      TestModel again(config, GetParam(), {3, 45, 0, kept});
      const size_t less = again.model.memory().categories().at("activations");
      // Norms at the end of branches have no codes to make again: those of the streams go with `inner`.
      const bool nothing = config.placement == NormPlacement::res_post && kept.inner && kept.hidden;
      EXPECT_TRUE(nothing ? less == activations : less < activations);
      EXPECT_EQ(again.train(batch), loss);
      const auto found = again.gradients();
      for (const auto& [name, gradient] : expected)
        EXPECT_EQ(std::memcmp(gradient.data(), found.at(name).data(), gradient.size() * sizeof(float)), 0)
            << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Recipes, Recompute,
                         testing::Values("fp32", "bf16", "fp8-amax", "fp8-cscale", "fp8-mse", "fp8-amax-fp16",
                                         "fp8-row", "fp8-row-hp-wgrad"));

// Codes made again need neither the history nor the random numbers once more: scale and seed are kept.
TEST(Recompute, MakesCodesAgainForRecipesWithAMemory) {
  const char* const kRecipes[] = {
      "[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"delayed\"\nwindow = 4\n",
      "[gemm]\nformat = \"e4m3\"\nrounding = \"stochastic\"\n[gemm.scaling]\nkind = \"current\"\n",
      "[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"constant\"\nexponent = 2\n",
      "[gemm]\nformat = \"e4m3\"\nrounding = \"stochastic\"\ngranularity = \"row\"\n"
      "[gemm.scaling]\nkind = \"current\"\npow2 = false\n",
      "[gemm]\nformat = \"e4m3\"\nscaling = { kind = \"current\" }\n"
      "[gemm.wgrad]\nformat = \"e5m2\"\nscaling = { kind = \"delayed\" }\n",
      "[gemm.wgrad]\nformat = \"e4m3\"\nscaling = { kind = \"current\" }\n",
      "[gemm]\nformat = \"fp32\"\n[gemm.output]\nformat = \"fp32\"\n[gemm.wgrad]\nformat = \"bf16\"\n"};
  for (const char* text : kRecipes)
    for (ModelConfig config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
      SCOPED_TRACE(text);
      const Recipe recipe = parse_recipe(text, "memory.toml");
      const TestBatch batch(config, 2, 33);
      TestModel keeps(config, recipe, {2, 33, 0}),
          again(config, recipe, {2, 33, 0, {true, true, false, false}});
      for (int step = 0; step < 3; ++step) {
        keeps.model.parameters().zero_gradients(keeps.pool);
        again.model.parameters().zero_gradients(again.pool);
        EXPECT_EQ(keeps.train(batch), again.train(batch));
        const auto expected = keeps.gradients(), found = again.gradients();
        for (const auto& [name, gradient] : expected)
          EXPECT_EQ(std::memcmp(gradient.data(), found.at(name).data(), gradient.size() * sizeof(float)), 0)
              << name;
      }
    }
}

// Not recomputed, but kept as well: the weights packed for the GEMMs.
TEST(PackedWeights, ChangeNoBit) {
  for (const char* recipe : {"fp32", "bf16", "fp8-amax", "fp8-row", "fp8-row-hp-wgrad"})
    for (ModelConfig config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
      SCOPED_TRACE(recipe);
      const TestBatch batch(config, 3, 45);
      TestModel plain(config, recipe, {3, 45, 0}), packed(config, recipe, {3, 45, 0, {}, true});
      EXPECT_GT(packed.model.memory().categories().at("packed weights"), 0u);
      for (int step = 1; step < 3; ++step) {
        for (TestModel* m : {&plain, &packed}) m->model.parameters().zero_gradients(m->pool);
        EXPECT_EQ(plain.train(batch), packed.train(batch));
        const auto expected = plain.gradients(), found = packed.gradients();
        for (const auto& [name, gradient] : expected)
          EXPECT_EQ(std::memcmp(gradient.data(), found.at(name).data(), gradient.size() * sizeof(float)), 0)
              << name;
        for (TestModel* m : {&plain, &packed})
          for (Parameter& p : m->model.parameters().all())
            for (int64_t i = 0; i < p.size(); ++i) p.value[i] -= 0.1f * p.grad[i];
        for (TestModel* m : {&plain, &packed}) {
          for (Parameter& p : m->model.parameters().all()) p.amax = -1;
          m->model.refresh_weights();
        }
      }
    }
}

TEST(Recompute, RefusesRecipesThatCannotRepeatThemselves) {
  const Recipe recipe = parse_recipe(
      "[gemm]\nformat = \"e4m3\"\nrounding = \"stochastic\"\n[gemm.scaling]\nkind = \"current\"\n",
      "stochastic.toml");
  EXPECT_THROW(TestModel(tiny_gpt2(), recipe, {1, 8, 0, {true, false, false, false}}), Error);
  EXPECT_NO_THROW(TestModel(tiny_gpt2(), recipe, {1, 8, 0, {true, true, false, false}}));
}

// Blocks share memory in a model for inference, but each has formats of its own.
TEST(Inference, FollowsTheRecipeOfEveryBlock) {
  ModelConfig config = larger(tiny_llama());
  config.layers = 3;
  const Recipe mixed = parse_recipe(
      "[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"current\"\n[layers]\nfirst_blocks_high = 1\n"
      "last_blocks_high = 1\n",
      "mixed.toml");
  const TestBatch batch(config, 2, 33);
  TestModel trained(config, mixed, {2, 33, 0});
  ThreadPool pool(2);
  Transformer model(config, mixed, Purpose::inference, pool);
  model.allocate({2, 33, 0});
  randomize(model);
  EXPECT_EQ(model.evaluate(batch.view(), batch.targets.data()).loss,
            trained.model.evaluate(batch.view(), batch.targets.data()).loss);
}

}  // namespace
}  // namespace octavo
