// SPDX-License-Identifier: Apache-2.0
// A loss scale is divided out exactly, and a dynamic one finds its way down and up.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "nn/nn_testing.h"
#include "octavo/train/loss_scaler.h"
#include "octavo/train/optimizer.h"

namespace octavo {
namespace {

TEST(LossScaler, NoneAndStatic) {
  LossScaleState state;
  EXPECT_EQ(LossScaler({LossScaling::unit, 1}, 2048, 192).scale({}), 0x1p19);  // 2^11 * 2^7.58
  EXPECT_EQ(LossScaler({LossScaling::unit, 1}, 1000, 64).scale({}), 0x1p16);
  const LossScaler none(LossSpec{}), fixed(LossSpec{LossScaling::static_, 1024});
  EXPECT_EQ(none.scale(state), 1);
  EXPECT_EQ(fixed.scale(state), 1024);
  EXPECT_FALSE(none.active());
  EXPECT_TRUE(fixed.active());
  const LossScaler jump(LossSpec{LossScaling::jump, 16, 500});
  EXPECT_EQ(jump.scale(state, 499), 1);
  EXPECT_EQ(jump.scale(state, 500), 16);
  // Without a dynamic scale nothing is skipped: the run has to stop.
  EXPECT_TRUE(none.accept(false, state));
  EXPECT_TRUE(fixed.accept(false, state));
  EXPECT_EQ(state.skipped, 0);
}

TEST(LossScaler, HalvesSkipsAndGrows) {
  const LossScaler scaler(LossSpec{LossScaling::dynamic, 1});
  LossScaleState state;
  EXPECT_EQ(scaler.scale(state), 65536);
  EXPECT_TRUE(scaler.accept(true, state));
  EXPECT_FALSE(scaler.accept(false, state));
  EXPECT_EQ(scaler.scale(state), 32768);
  EXPECT_EQ(state.good, 0);
  for (int64_t i = 0; i + 1 < LossScaler::kGrowthSteps; ++i) EXPECT_TRUE(scaler.accept(true, state));
  EXPECT_EQ(scaler.scale(state), 32768);
  EXPECT_TRUE(scaler.accept(true, state));
  EXPECT_EQ(scaler.scale(state), 65536);
  for (int i = 0; i < 16; ++i) EXPECT_FALSE(scaler.accept(false, state));
  EXPECT_EQ(scaler.scale(state), 1);
  EXPECT_EQ(state.skipped, 17);
  EXPECT_TRUE(scaler.accept(false, state)) << "at 1 the scale is not to blame";
  state.exponent = LossScaler::kLargest;
  state.good = LossScaler::kGrowthSteps - 1;
  EXPECT_TRUE(scaler.accept(true, state));
  EXPECT_EQ(state.exponent, LossScaler::kLargest);
}

// Powers of two pass through FP32, BF16 and just-in-time power-of-two scales without a trace.
TEST(LossScale, ChangesNoBitOfTheWeights) {
  for (const char* recipe : {"fp32", "bf16", "fp8-amax"})
    for (const double clip : {0.0, 0.25}) {
      SCOPED_TRACE(recipe);
      const ModelConfig config = larger(tiny_llama());
      const TestBatch batch(config, 2, 21);
      RunConfig::Optim optim;
      optim.lr = 1;
      optim.clip = clip;
      const Optimizer optimizer(optim);
      const auto weights = [&](double scale) {
        TestModel m(config, recipe, {2, 21, 0});
        for (int64_t step = 1; step <= 3; ++step) {
          m.model.parameters().zero_gradients(m.pool);
          m.model.train(batch.view(), batch.targets.data(),
                        static_cast<float>(scale / static_cast<double>(batch.counted)));
          const double norm = std::sqrt(optimizer.gradient_squares(m.model)) / scale;
          EXPECT_GT(norm, 0.25);
          optimizer.step(m.model, step, 0.01, norm, scale);
          m.model.refresh_weights();
        }
        std::vector<float> all;
        for (const Parameter& p : m.model.parameters().all())
          all.insert(all.end(), p.value, p.value + p.size());
        return all;
      };
      const auto plain = weights(1), scaled = weights(1024);
      EXPECT_EQ(std::memcmp(plain.data(), scaled.data(), plain.size() * sizeof(float)), 0);
    }
}

// The paper's just-in-time bias moves against the loss scale, and the codes stay.
TEST(LossScale, ShiftsEveryGradientBiasAndNoCode) {
  for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama())}) {
    const TestBatch batch(config, 3, 33);
    struct Outcome {
      std::vector<TensorRecord> records;
      std::map<std::string, std::vector<float>> gradients;
    };
    const auto outcome = [&](int k) {
      TestModel m(config, "fp8-amax", {3, 33, 0});
      Outcome o;
      m.model.pass().records = &o.records;
      m.model.train(batch.view(), batch.targets.data(),
                    static_cast<float>(std::ldexp(1.0 / static_cast<double>(batch.counted), k)));
      o.gradients = m.gradients();
      return o;
    };
    const Outcome base = outcome(0);
    for (const int k : {-9, 1, 12}) {
      const Outcome moved = outcome(k);
      ASSERT_EQ(moved.records.size(), base.records.size());
      int gradients = 0;
      for (size_t i = 0; i < base.records.size(); ++i) {
        const TensorRecord &a = base.records[i], &b = moved.records[i];
        SCOPED_TRACE(a.tensor + " " + a.role);
        const bool gradient = a.role == "gemm.grad_output";
        gradients += gradient;
        ASSERT_EQ(b.tensor, a.tensor);
        ASSERT_EQ(b.role, a.role);
        // The record holds log2 of the scale, which is minus the bias.
        EXPECT_EQ(b.scale_exponent, a.scale_exponent + (gradient ? k : 0));
        EXPECT_EQ(b.amax, std::ldexp(a.amax, gradient ? k : 0));
        EXPECT_EQ(b.underflow, a.underflow);
        EXPECT_EQ(b.saturation, a.saturation);
      }
      EXPECT_GE(gradients, 4 * config.layers);
      // One code that differed would show in a sum of dW: these are the very same sums, shifted.
      for (const auto& [name, gradient] : base.gradients) {
        const auto& other = moved.gradients.at(name);
        for (size_t i = 0; i < gradient.size(); ++i)
          ASSERT_EQ(other[i], std::ldexp(gradient[i], k)) << name << " " << i;
      }
    }
  }
}

}  // namespace
}  // namespace octavo
