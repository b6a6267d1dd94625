// SPDX-License-Identifier: Apache-2.0
// Decoding with the key/value cache gives what one pass over the whole text gives.
#include "nn_testing.h"
#include "octavo/base/error.h"
#include "reference_model.h"

namespace octavo {
namespace {

/// An inference model with the values of a training model.
struct Decoder {
  ThreadPool pool{2};
  Transformer model;
  Decoder(TestModel& from, const std::string& recipe, const Limits& limits)
      : model(from.model.config(), load_recipe(recipe), Purpose::inference, pool) {
    model.allocate(limits);
    for (Parameter& p : from.model.parameters().all())
      model.set_parameter(*model.parameters().find(p.name), p.value);
  }
  /// Feeds [batch, length] tokens in pieces and returns the logits after the last.
  std::vector<float> feed(const TestBatch& b, int64_t length, const std::vector<int64_t>& pieces) {
    model.reset_cache();
    int64_t at = 0;
    std::span<const float> logits;
    for (size_t i = 0; at < length; ++i) {
      const int64_t count = std::min(pieces[i % pieces.size()], length - at);
      std::vector<int32_t> tokens;
      for (int64_t s = 0; s < b.batch; ++s)
        for (int64_t t = at; t < at + count; ++t)
          tokens.push_back(b.tokens[static_cast<size_t>(s * b.seq + t)]);
      logits = model.step(b.batch, count, tokens.data());
      at += count;
    }
    EXPECT_EQ(model.cache_length(), length);
    return {logits.begin(), logits.end()};
  }
};

class Incremental : public testing::TestWithParam<std::pair<const char*, double>> {};

TEST_P(Incremental, TokenByTokenAndInPiecesLikeTheReference) {
  const auto [recipe, bound] = GetParam();
  for (const ModelConfig& config :
       {tiny_gpt2(true), tiny_gpt2(false), tiny_llama(false), tiny_llama(true), tiny_octavo()}) {
    SCOPED_TRACE(to_string(config.family));
    const TestBatch batch(config, 3, config.context);
    TestModel source(config, "fp32", {1, 1, 0});
    const ReferenceModel reference(config, source.model.parameters());
    const std::vector<double> expected = reference.logits(batch.tokens, batch.batch, batch.seq);
    double scale = 0;
    for (const double x : expected) scale += x * x;
    scale = std::sqrt(scale / static_cast<double>(expected.size()));

    Decoder decoder(source, recipe, {3, config.context, config.context});
    const std::vector<std::vector<int64_t>> ways{{config.context}, {1}, {2, 3}, {7, 1, 1}, {1, 9}};
    for (const std::vector<int64_t>& pieces : ways) {
      for (const int64_t length : {int64_t{1}, int64_t{10}, config.context}) {
        const std::vector<float> logits = decoder.feed(batch, length, pieces);
        ASSERT_EQ(logits.size(), static_cast<size_t>(3 * config.vocab_size));
        double error = 0;
        for (int64_t s = 0; s < 3; ++s)
          for (int64_t v = 0; v < config.vocab_size; ++v) {
            const double want =
                expected[static_cast<size_t>((s * batch.seq + length - 1) * config.vocab_size + v)];
            const double off =
                want - static_cast<double>(logits[static_cast<size_t>(s * config.vocab_size + v)]);
            error += off * off / static_cast<double>(logits.size());
          }
        EXPECT_LT(std::sqrt(error), bound * scale) << "length " << length << ", first piece " << pieces[0];
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Recipes, Incremental,
                         testing::Values(std::pair{"fp32", 2e-6}, std::pair{"bf16", 0.03},
                                         std::pair{"fp8-amax", 0.3}, std::pair{"fp8-mse", 0.3},
                                         std::pair{"fp8-amax-fp16", 0.3}, std::pair{"fp8-row", 0.3}),
                         [](const auto& test) {
                           std::string name = test.param.first;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(Incremental, TheSamePiecesGiveTheSameBits) {
  for (const char* recipe : {"fp32", "bf16"}) {
    const ModelConfig config = larger(tiny_llama());
    const TestBatch batch(config, 2, config.context);
    TestModel source(config, "fp32", {1, 1, 0});
    Decoder decoder(source, recipe, {2, config.context, config.context});
    const std::vector<float> once = decoder.feed(batch, config.context, {5, 11, 1});
    decoder.feed(batch, 7, {7});  // what an earlier text left in the cache must not matter
    EXPECT_EQ(decoder.feed(batch, config.context, {5, 11, 1}), once) << recipe;
  }
}

TEST(Incremental, ASequenceDoesNotDependOnItsNeighbours) {
  const ModelConfig config = tiny_llama();
  const TestBatch batch(config, 3, 9);
  TestModel source(config, "fp32", {1, 1, 0});
  for (const char* recipe : {"bf16", "fp8-row"}) {  // in FP8, as each token has a scale of its own
    Decoder three(source, recipe, {3, 9, 9}), one(source, recipe, {1, 9, 9});
    const std::vector<float> all = three.feed(batch, 9, {4, 1});
    const std::vector<float> last = one.feed(batch.part(2, 1), 9, {4, 1});
    EXPECT_EQ(std::vector<float>(all.begin() + 2 * config.vocab_size, all.end()), last) << recipe;
  }
}

TEST(Incremental, MoreThanTheCacheHoldsIsAnError) {
  const ModelConfig config = tiny_gpt2();
  TestModel source(config, "fp32", {1, 1, 0});
  Decoder decoder(source, "fp32", {1, 4, 6});
  const TestBatch batch(config, 1, 12);
  decoder.feed(batch, 6, {4});
  EXPECT_THROW(decoder.model.step(1, 1, batch.tokens.data()), Error);
  EXPECT_EQ(decoder.model.cache_length(), 6);
  decoder.model.reset_cache();
  EXPECT_THROW(decoder.model.step(1, 5, batch.tokens.data()), Error);
  EXPECT_THROW(decoder.model.step(2, 1, batch.tokens.data()), Error);
}

}  // namespace
}  // namespace octavo
