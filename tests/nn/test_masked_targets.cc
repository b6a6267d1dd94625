// SPDX-License-Identifier: Apache-2.0
// Targets that do not count: the gradient of a batch is the mean over those that do, however they are spread.
#include "nn_testing.h"

namespace octavo {
namespace {

constexpr int64_t kBatch = 3, kSeq = 7;

void expect_near(const std::map<std::string, std::vector<float>>& a,
                 const std::map<std::string, std::vector<float>>& b, double tolerance) {
  for (const auto& [name, gradient] : a) {
    EXPECT_GT(length(gradient), 0) << name;
    EXPECT_LT(distance(gradient, b.at(name)), tolerance * length(gradient)) << name;
  }
}

// Nearly all of the last sequence counts, one target of the middle one, none of the first.
TestBatch uneven(const ModelConfig& config) {
  TestBatch batch(config, kBatch, kSeq, 5, false);
  for (int64_t r = 0; r < kBatch * kSeq; ++r)
    if (r != kSeq + 4 && r < 2 * kSeq + 1) batch.targets[static_cast<size_t>(r)] = -100;
  batch.counted = 0;
  for (const int32_t target : batch.targets) batch.counted += target != -100;
  return batch;
}

TEST(MaskedTargets, TheGradientIsTheMeanOfThoseOfEachCountedTarget) {
  for (const ModelConfig& config : {tiny_gpt2(), tiny_llama(), tiny_octavo()}) {
    const TestBatch batch = uneven(config);
    ASSERT_EQ(batch.counted, 7);
    TestModel together(config, "fp32", {kBatch, kSeq, 0}), apart(config, "fp32", {kBatch, kSeq, 0});
    const double loss = together.train(batch);
    double sum = 0;
    for (size_t r = 0; r < batch.targets.size(); ++r) {
      if (batch.targets[r] == -100) continue;
      TestBatch one = batch;
      for (size_t other = 0; other < one.targets.size(); ++other)
        if (other != r) one.targets[other] = -100;
      one.counted = 1;
      sum += apart.train(one, batch.counted);
    }
    EXPECT_NEAR(loss, sum, 1e-6 * loss);
    expect_near(together.gradients(), apart.gradients(), 1e-5);
  }
}

TEST(MaskedTargets, MicroBatchesWeighAsManyTargetsAsTheyCount) {
  const ModelConfig config = tiny_llama();
  const TestBatch batch = uneven(config);
  TestModel together(config, "fp32", {kBatch, kSeq, 0}), apart(config, "fp32", {1, kSeq, 0});
  const double loss = together.train(batch);
  double sum = 0;
  for (int64_t b = 0; b < kBatch; ++b) sum += apart.train(batch.part(b, 1), batch.counted);
  EXPECT_NEAR(loss, sum, 1e-6 * loss);
  expect_near(together.gradients(), apart.gradients(), 1e-5);
  // The mean of the micro-batches' own means would be another gradient.
  TestModel wrong(config, "fp32", {1, kSeq, 0});
  for (const int64_t b : {1, 2}) wrong.train(batch.part(b, 1), 2 * batch.part(b, 1).counted);
  const auto right = together.gradients(), other = wrong.gradients();
  EXPECT_GT(distance(right.at("lm_head.weight"), other.at("lm_head.weight")),
            0.1 * length(right.at("lm_head.weight")));
}

}  // namespace
}  // namespace octavo
