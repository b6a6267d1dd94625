// SPDX-License-Identifier: Apache-2.0
// The memory table is the allocation.
#include "nn_testing.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

TEST(Memory, PlanIsAllocation) {
  for (const char* recipe : {"fp32", "bf16", "fp8-amax", "fp8-row", "fp8-row-hp-wgrad"}) {
    for (const ModelConfig& config : {tiny_gpt2(), tiny_gpt2(false), tiny_llama(), tiny_llama(true)}) {
      for (const Purpose purpose : {Purpose::training, Purpose::inference}) {
        ThreadPool pool(2);
        const Limits limits{2, 9, purpose == Purpose::inference ? 15 : 0};
        Transformer planned(config, load_recipe(recipe), purpose, pool),
            allocated(config, load_recipe(recipe), purpose, pool);
        const auto plan = planned.plan(limits).categories();
        EXPECT_FALSE(planned.memory().committed());
        allocated.allocate(limits);
        EXPECT_TRUE(allocated.memory().committed());
        EXPECT_EQ(plan, allocated.memory().categories());
        size_t total = 0;
        for (const auto& [name, bytes] : plan) total += bytes;
        EXPECT_EQ(total, allocated.memory().total());
        // Asking for the plan first must not reserve everything twice.
        planned.allocate(limits);
        EXPECT_EQ(plan, planned.memory().categories());
      }
    }
  }
}

// Codes are written at once where the scale is known, but a pass that records needs the values as well.
TEST(Memory, ThePlanHasRoomForRecordingPasses) {
  for (const char* recipe :
       {"fp8-amax", "fp8-cscale", "fp8-delayed", "fp8-mse", "fp8-amax-fp16", "fp8-row", "fp8-row-hp-wgrad"})
    for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())})
      for (const Purpose purpose : {Purpose::training, Purpose::inference}) {
        ThreadPool pool(2);
        Transformer model(config, load_recipe(recipe), purpose, pool);
        const TestBatch batch(config, 2, 33);
        for (int times = 0; times < 2; ++times) {  // with the history of an earlier use, too
          model.allocate({2, 33, 0});
          randomize(model);
          std::vector<TensorRecord> records;
          model.evaluate(batch.view(), batch.targets.data());
          model.pass().records = &records;
          model.evaluate(batch.view(), batch.targets.data());
          EXPECT_FALSE(records.empty());
        }
      }
}

TEST(Memory, TrainingHoldsFourFloatsAParameter) {
  const ModelConfig config = larger(tiny_gpt2());
  TestModel engine(config, "bf16", {1, 8, 0});
  const size_t floats = static_cast<size_t>(parameter_count(config)) * 4;
  const auto& table = engine.model.memory().categories();
  const size_t padding = engine.model.parameters().all().size() * 64;
  EXPECT_GE(table.at("weights"), floats);
  EXPECT_LE(table.at("weights"), floats + padding);
  EXPECT_LE(table.at("gradients"), floats + padding);
  EXPECT_GE(table.at("optimizer"), 2 * floats);
  EXPECT_LE(table.at("optimizer"), 2 * (floats + padding));
}

TEST(Memory, Fp8LmKeepsSixBytesAParameterInsteadOfSixteen) {
  const ModelConfig config = larger(tiny_gpt2());
  for (const auto& [recipe, bytes] :
       {std::pair{"bf16", 16}, {"fp8-lm-o1", 11}, {"fp8-lm-o2", 6}, {"fp8-lm-o3", 6}}) {
    ThreadPool pool(1);
    Transformer model(config, load_recipe(recipe), Purpose::training, pool);
    model.allocate({1, 4, 0});
    int64_t linear = 0;
    for (const Parameter& p : model.parameters().all()) {
      int64_t kept = 0;
      for (const StateTensor* t : {&p.master, &p.weight_grad, &p.moment1, &p.moment2}) {
        EXPECT_NE(t->at.data, nullptr) << p.name;
        kept += static_cast<int64_t>(t->bytes());
      }
      const bool in_block_matrix = p.decay && p.group > 0;
      linear += in_block_matrix ? p.size() : 0;
      EXPECT_EQ(kept, p.size() * (in_block_matrix ? bytes : 16)) << recipe << " " << p.name;
    }
    EXPECT_GT(linear, 0);
  }
}

TEST(Memory, InferenceKeepsMastersOnlyWhereTheyAreRead) {
  for (const ModelConfig& config : {tiny_gpt2(), tiny_llama(), tiny_octavo()}) {
    for (const char* recipe : {"fp32", "bf16", "fp8-amax", "fp8-row", "fp8-row-hp-wgrad"}) {
      ThreadPool pool(1);
      Transformer model(config, load_recipe(recipe), Purpose::inference, pool);
      model.allocate({1, 4, 8});
      for (const Parameter& p : model.parameters().all()) {
        const bool copied = p.decay && p.name != "transformer.wpe.weight";
        EXPECT_EQ(p.value == nullptr, copied && std::string(recipe) != "fp32") << recipe << " " << p.name;
        EXPECT_EQ(p.grad, nullptr);
        EXPECT_EQ(p.moment1.at.data, nullptr);
      }
    }
  }
}

TEST(Memory, TheModelsContextIsALimit) {
  ThreadPool pool(1);
  const ModelConfig config = tiny_gpt2();
  Transformer model(config, load_recipe("bf16"), Purpose::inference, pool);
  EXPECT_THROW(model.plan({1, config.context + 1, 0}), Error);
  EXPECT_THROW(model.plan({1, 1, config.context + 1}), Error);
}

// A config.json may announce any context; only the positions asked for may cost anything.
TEST(Memory, AHugeContextCostsNothingUntilItIsUsed) {
  ModelConfig config = tiny_llama();
  config.context = 1 << 24;
  config.heads = config.kv_heads = 1;
  config.head_dim = 1024;
  validate(config, "test");
  ThreadPool pool(1);
  Transformer model(config, load_recipe("bf16"), Purpose::inference,
                    pool);  // all of it would be 64 GiB of cosines
  model.allocate({1, 4, 8});
  EXPECT_LT(model.memory().total(), size_t{64} << 20);
}

}  // namespace
}  // namespace octavo
