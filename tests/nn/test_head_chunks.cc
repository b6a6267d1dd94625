// SPDX-License-Identifier: Apache-2.0
// The logits of a long batch never exist at once; a vocabulary large enough makes the head work in several
// chunks.
#include "nn_testing.h"
#include "octavo/kernels/loss.h"

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

// Scales per token run along with the rows of a chunk, those per channel serve all chunks of the input.
TEST(Head, ChunksOfRowsWithScalesOfTheirOwn) {
  ModelConfig config = tiny_llama();
  config.layers = 1;
  const auto gradients = [&](const char* keep_high, int64_t vocabulary, double& loss) {
    config.vocab_size = vocabulary;
    const Recipe recipe = parse_recipe(
        std::string("[gemm]\nformat = 'e4m3'\ngranularity = 'row'\nscaling = { kind = 'current' }\n"
                    "[gemm.output]\nformat = 'fp32'\n[layers]\nkeep_high = ['embed', 'norm'") +
            keep_high + "]\n",
        "head.toml");
    const TestBatch batch(config, 12, 23);
    TestModel model(config, recipe, {12, 23, 0});
    loss = model.train(batch);
    return model.gradients();
  };
  double wide_loss = 0, narrow_loss = 0;
  const auto wide = gradients(", 'lm_head'", 150001, wide_loss);
  const auto narrow = gradients("", 150001, narrow_loss);
  EXPECT_NE(narrow_loss, wide_loss);
  EXPECT_NEAR(narrow_loss, wide_loss, 2e-3 * wide_loss);
  for (const auto& [name, gradient] : wide)
    EXPECT_GT(dot(gradient, narrow.at(name)) / (length(gradient) * length(narrow.at(name))), 0.97) << name;
}

// Logits of chosen rows: in any order, over several chunks, in every format the head may have.
TEST(Head, LogitsOfChosenRows) {
  ModelConfig config = tiny_llama();
  config.vocab_size = 150001;
  config.layers = 1;
  const TestBatch batch(config, 12, 23, 5, false);  // as above, in FP32
  ThreadPool pool(2);
  TestModel source(config, "fp32", {1, 1, 0});
  for (const char* name : {"fp32", "bf16", "fp8", "fp8 rows"}) {
    SCOPED_TRACE(name);
    const bool fp8 = std::string(name).starts_with("fp8");
    const Recipe recipe = fp8 ? parse_recipe("[gemm]\nformat = \"e4m3\"\ngranularity = \"" +
                                                 std::string(std::string(name) == "fp8" ? "tensor" : "row") +
                                                 "\"\n[gemm.scaling]\nkind = \"current\"\n"
                                                 "[layers]\nkeep_high = [\"embed\", \"norm\"]\n",
                                             "fp8.toml")
                              : load_recipe(name);
    Transformer model(config, recipe, Purpose::inference, pool);
    model.allocate({12, 23, 0});
    for (Parameter& p : source.model.parameters().all())
      model.set_parameter(*model.parameters().find(p.name), p.value);
    const LossSum all = model.evaluate(batch.view(), batch.targets.data());
    std::vector<int64_t> rows;
    for (int64_t r = batch.batch * batch.seq; r-- > 0;) rows.push_back(r);
    model.read(batch.view());
    double loss = 0;
    int64_t seen = 0, calls = 0;
    model.row_logits(rows, [&](int64_t first, ConstMatrix logits) {
      EXPECT_EQ(first, seen);
      EXPECT_EQ(logits.cols, config.vocab_size);
      std::vector<double> log_sum(static_cast<size_t>(logits.rows));
      std::vector<int32_t> best(log_sum.size());
      logit_statistics(logits, log_sum.data(), best.data(), pool);
      for (int64_t r = 0; r < logits.rows; ++r)
        loss += log_sum[static_cast<size_t>(r)] -
                logit_at(logits, r, batch.targets[static_cast<size_t>(rows[static_cast<size_t>(first + r)])]);
      seen += logits.rows;
      ++calls;
    });
    EXPECT_EQ(seen, static_cast<int64_t>(rows.size()));
    EXPECT_EQ(calls, std::string(name) == "fp32" ? 2 : 1);
    EXPECT_NEAR(loss, all.loss, 1e-6 * all.loss);
    model.row_logits({}, [](int64_t, ConstMatrix) { FAIL(); });
  }
}

}  // namespace
}  // namespace octavo
