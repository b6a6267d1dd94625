// SPDX-License-Identifier: Apache-2.0
// Training with FP16 sums and results: what overflows, what the margin is for, and that it learns.
#include <algorithm>
#include <cmath>

#include "nn_testing.h"
#include "octavo/base/buffer.h"
#include "octavo/recipe/quantizer.h"
#include "octavo/train/loss_scaler.h"
#include "octavo/train/optimizer.h"

namespace octavo {
namespace {

/// dX = dY · W of one row, by the rules of a recipe.
std::vector<float> input_gradient(const Recipe& recipe, const std::vector<float>& dy,
                                  const std::vector<float>& w) {
  ThreadPool pool(1);
  Scaler scaler;
  const int64_t k = static_cast<int64_t>(dy.size()), n = static_cast<int64_t>(w.size()) / k;
  const LinearSpecs specs = recipe.linear("h.0.mlp.c_fc", 0, 1);
  std::vector<uint8_t> dy_codes(dy.size()), w_codes(w.size());
  float scales[2] = {};
  const auto quantized = [&](const char* name, const RoleSpec& spec, const std::vector<float>& x,
                             int64_t rows, std::vector<uint8_t>& codes, float* scale) {
    const int64_t cols = static_cast<int64_t>(x.size()) / rows;
    ScaledTensor out;
    out.codes = dense(codes.data(), spec.format, rows, cols);
    out.scales = scale;
    QuantizeRequest request;
    request.x = dense(x.data(), Format::fp32, rows, cols);
    quantize_tensor(scaler, scaler.add(name, spec), request, out, pool);
    return out;
  };
  const ScaledTensor a = quantized("dy", specs.dgrad_grad_output, dy, 1, dy_codes, scales);
  const ScaledTensor b = quantized("w", specs.dgrad_weight, w, k, w_codes, scales + 1);
  std::vector<float> dx(static_cast<size_t>(n));
  GemmArgs g;
  g.m = 1;
  g.n = n;
  g.k = k;
  g.a = gemm_operand(a, true);
  g.b = gemm_operand(b, false);
  g.c = dx.data();
  g.c_stride = n;
  g.round_to_fp16 = specs.output == Format::fp16;
  g.fp16_sums = specs.sums == SumsOf::codes ? Fp16Sums::codes : Fp16Sums::values;
  Buffer buffer(gemm_workspace(g, 1) + 64);
  Workspace workspace(buffer.data(), buffer.size());
  gemm(g, pool, workspace);
  return dx;
}

Recipe with_margin(int margin, SumsOf sums) {
  Recipe recipe = load_recipe("fp8-amax-fp16");
  RoleOverride keys = recipe.written(Role::gemm_grad_output);
  keys.margin = margin;
  recipe.write(Role::gemm_grad_output, keys);
  recipe.sums = sums;
  return recipe;
}

// Sums of codes: the gradient's largest code, 57344, times a weight of code 4 or more is beyond 65504. The
// margin of 3 makes it 7168.
TEST(Fp16, TheMarginKeepsSumsOfCodesFinite) {
  constexpr int64_t kOut = 64, kIn = 5;
  std::vector<float> dy(kOut, 0.0f), w(kOut * kIn, 0.0f);
  dy[3] = 1.75f;
  dy[40] = -0.25f;
  for (int64_t i = 0; i < kIn; ++i) {
    w[3 * kIn + i] = 0.25f;  // code 8 of a largest 448: what meets the large gradient is small
    w[40 * kIn + i] = -0.125f;
  }
  w[10 * kIn] = 14.0f;
  const float exact = 1.75f * 0.25f + 0.25f * 0.125f;
  for (const float x : input_gradient(with_margin(0, SumsOf::codes), dy, w)) EXPECT_TRUE(std::isinf(x)) << x;
  for (const float x : input_gradient(with_margin(3, SumsOf::codes), dy, w)) EXPECT_EQ(x, exact);
  // Scaled before they are summed, products do not feel the margin.
  for (const int margin : {0, 3})
    for (const float x : input_gradient(with_margin(margin, SumsOf::values), dy, w)) EXPECT_EQ(x, exact);
}

struct Outcome {
  std::vector<double> losses;
  LossScaleState scale;
  bool finite = true;
};

/// What the trainer does in a step, on one batch.
Outcome train(const ModelConfig& config, const Recipe& recipe, int steps, int64_t exponent) {
  const TestBatch batch(config, 3, 33);
  RunConfig::Optim optim;
  optim.lr = 1;
  const Optimizer optimizer(optim);
  const LossScaler scaler(recipe.loss);
  TestModel m(config, recipe, {3, 33, 0}, 1);
  Outcome run;
  run.scale.exponent = exponent;
  for (int step = 0; step < steps; ++step) {
    m.model.parameters().zero_gradients(m.pool);
    m.model.pass().scaler.clear_nonfinite();
    const double scale = scaler.scale(run.scale);
    const LossSum sum = m.model.train(batch.view(), batch.targets.data(),
                                      static_cast<float>(scale / static_cast<double>(batch.counted)));
    double norm = std::sqrt(optimizer.gradient_squares(m.model)) / scale;
    if (m.model.pass().scaler.nonfinite() > 0) norm = std::numeric_limits<double>::infinity();
    run.losses.push_back(sum.loss / static_cast<double>(batch.counted));
    if (!scaler.accept(std::isfinite(norm), run.scale)) continue;
    optimizer.step(m.model, step + 1 - run.scale.skipped, 3e-3, norm, scale);
    m.model.refresh_weights();
  }
  for (const Parameter& p : m.model.parameters().all())
    run.finite &= std::all_of(p.value, p.value + p.size(), [](float x) { return std::isfinite(x); });
  return run;
}

TEST(Fp16, LearnsAndSkipsWhatOverflows) {
  for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama())}) {
    SCOPED_TRACE(to_string(config.family));
    const Outcome wide = train(config, load_recipe("fp8-amax"), 40, 0);
    const Outcome usual = train(config, load_recipe("fp8-amax-fp16"), 40, 16);
    EXPECT_TRUE(usual.finite);
    EXPECT_LT(usual.losses.back(), 0.5 * usual.losses.front());
    EXPECT_NEAR(usual.losses.front(), wide.losses.front(), 0.01 * wide.losses.front());
    EXPECT_NEAR(usual.losses.back(), wide.losses.back(), 0.05 * wide.losses.front());
    // A scale that is far too large: gradients overflow, nothing is learnt from them, and it comes down.
    const Outcome high = train(config, load_recipe("fp8-amax-fp16"), 60, 30);
    EXPECT_TRUE(high.finite);
    EXPECT_GT(high.scale.skipped, 3);
    EXPECT_LT(high.scale.skipped, 20);
    EXPECT_EQ(high.scale.exponent, 30 - high.scale.skipped);
    EXPECT_EQ(high.losses[0], high.losses[1]);
    EXPECT_LT(high.losses.back(), 0.5 * high.losses.front());
  }
}

// The accumulator alone is a recipe, too.
TEST(Fp16, SumsAndResultsAreTwoChoices) {
  const ModelConfig config = larger(tiny_llama());
  const TestBatch batch(config, 2, 17);
  const Recipe both = load_recipe("fp8-amax-fp16");
  Recipe results = both, sums = load_recipe("fp8-amax");
  results.accumulate = Accumulate::fp32;
  sums.accumulate = Accumulate::fp16;
  std::vector<double> losses;
  for (const Recipe& recipe : {both, results, sums, load_recipe("fp8-amax")}) {
    TestModel m(config, recipe, {2, 17, 0});
    losses.push_back(m.train(batch));
    EXPECT_NEAR(losses.back(), losses.front(), 0.01 * losses.front());
    for (size_t i = 0; i + 1 < losses.size(); ++i) EXPECT_NE(losses[i], losses.back());
  }
}

}  // namespace
}  // namespace octavo
