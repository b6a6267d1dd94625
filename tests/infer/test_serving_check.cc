// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/serving_check.h"

#include <cmath>
#include <limits>

#include "infer/infer_testing.h"

namespace octavo {
namespace {

ServedText served_text(const ModelConfig& config, int64_t batch, int64_t seq) {
  const TestBatch b(config, batch, seq);
  return {batch, seq, b.tokens, b.targets};
}

TEST(CompareServed, CountsAndDistancesOfRowsThatDiffer) {
  ThreadPool pool(2);
  const std::vector<float> trained{0, 0, 0, 1, 2, 3, -1, 0, 5}, same = trained;
  std::vector<float> served = trained;
  const std::vector<int32_t> targets{1, 0, 2};
  EXPECT_TRUE(compare_served(trained, same, targets, 3, pool).identical());

  served[3] = 4;  // row 1 now prefers token 0
  const ServingDifference d = compare_served(trained, served, targets, 3, pool);
  EXPECT_FALSE(d.identical());
  EXPECT_EQ(d.rows, 3);
  EXPECT_EQ(d.other_rows, 1);
  EXPECT_EQ(d.other_top, 1);
  EXPECT_EQ(d.logit, 3);
  const double before = std::log(std::exp(1.0) + std::exp(2.0) + std::exp(3.0)),
               after = std::log(std::exp(4.0) + std::exp(2.0) + std::exp(3.0));
  EXPECT_NEAR(d.log_prob, std::abs((1 - before) - (4 - after)), 1e-6);
  double kl = 0;
  for (int v = 0; v < 3; ++v) {
    const double p = trained[static_cast<size_t>(3 + v)] - before,
                 q = served[static_cast<size_t>(3 + v)] - after;
    kl += std::exp(p) * (p - q);
  }
  EXPECT_NEAR(d.kl, kl / 3, 1e-6);

  // A row whose target counts for nothing still has bits.
  const std::vector<int32_t> ignored{1, -100, 2};
  const ServingDifference without = compare_served(trained, served, ignored, 3, pool);
  EXPECT_EQ(without.other_rows, 1);
  EXPECT_EQ(without.log_prob, 0);
  // So does a zero with another sign, however small the distance.
  served = trained;
  served[0] = -0.0f;
  EXPECT_EQ(compare_served(trained, served, targets, 3, pool).other_rows, 1);
}

TEST(CompareServed, NotANumberIsDamage) {
  ThreadPool pool(1);
  const std::vector<float> good{0, 1}, bad{0, std::numeric_limits<float>::quiet_NaN()};
  EXPECT_THROW(compare_served(good, bad, std::vector<int32_t>{0}, 2, pool), Error);
  EXPECT_THROW(compare_served(bad, bad, std::vector<int32_t>{0}, 2, pool), Error);
}

TEST(ServedLogits, EveryTokenGetsTheLogitsOfItsPlace) {
  for (const ModelConfig& config : {tiny_gpt2(), tiny_llama()}) {
    const ServedText text = served_text(config, 3, 17);
    InferenceModel served(config, "fp32", {3, 17, 17, {}, false, true});
    const std::vector<float> whole = logits_at_once(served.model, text);
    for (const auto& [first, piece] : {std::pair<int64_t, int64_t>{1, 1}, {8, 4}, {17, 1}, {3, 30}}) {
      EXPECT_EQ(logits_in_pieces(served.model, text, first, piece), whole) << first << ", " << piece;
      EXPECT_EQ(served.model.cache_length(), 17);
    }
    // The last row of each text is what step() says.
    served.model.reset_cache();
    const std::span<const float> last = served.model.step(3, 17, text.tokens.data());
    for (int64_t b = 0; b < 3; ++b)
      for (int64_t v = 0; v < config.vocab_size; ++v)
        ASSERT_EQ(last[static_cast<size_t>(b * config.vocab_size + v)],
                  whole[static_cast<size_t>(((b + 1) * 17 - 1) * config.vocab_size + v)]);
  }
}

TEST(ServedLogits, WithoutTheExactOrderTheyAreCloseAndNotTheSame) {
  if (max_isa() < Isa::avx512) GTEST_SKIP() << "one order only";
  const ModelConfig config = larger(tiny_gpt2());
  const ServedText text = served_text(config, 1, 40);
  InferenceModel served(config, "fp32", {1, 40, 40});
  const ServingDifference d =
      compare_served(logits_at_once(served.model, text), logits_in_pieces(served.model, text, 1, 1),
                     text.targets, config.vocab_size, served.pool);
  EXPECT_FALSE(d.identical());
  EXPECT_LT(d.logit, 1e-4);
  EXPECT_LT(d.kl, 1e-8);
}

}  // namespace
}  // namespace octavo
