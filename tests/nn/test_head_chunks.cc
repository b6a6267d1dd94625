// SPDX-License-Identifier: Apache-2.0
// The logits of a long batch never exist at once; a vocabulary large enough makes the head work in several
// chunks.
#include "nn_testing.h"

namespace octavo {
namespace {

TEST(Head, ChunksOfRowsAddUp) {
  ModelConfig config = tiny_llama();
  config.vocab_size = 150001;
  config.layers = 1;
  const TestBatch batch(config, 12, 23);  // 276 rows of 0.6 MB of FP32 logits: two chunks
  TestModel whole(config, "fp32", {12, 23, 0}), parts(config, "fp32", {4, 23, 0});
  const double expected = whole.train(batch);
  double loss = 0;
  for (int64_t first = 0; first < 12; first += 4) loss += parts.train(batch.part(first, 4), batch.counted);
  EXPECT_NEAR(loss, expected, 1e-7 * expected);
  const auto a = whole.gradients(), b = parts.gradients();
  for (const auto& [name, gradient] : a)
    EXPECT_LT(distance(gradient, b.at(name)), 3e-6 * length(gradient)) << name;
}

}  // namespace
}  // namespace octavo
