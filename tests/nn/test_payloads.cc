// SPDX-License-Identifier: Apache-2.0
// One tensor, two products: each reads what the recipe says of its own use. A linear layer against plain
// loops over operands that the test quantizes itself, along the reduction of each product.
#include <functional>
#include <optional>

#include "nn_testing.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

constexpr int64_t kTokens = 21, kIn = 36, kOut = 28;

/// A matrix of doubles, as the test sees one.
struct Values {
  int64_t rows, cols;
  std::vector<double> data;
  Values(int64_t r, int64_t c) : rows(r), cols(c), data(static_cast<size_t>(r * c)) {}
  double& at(int64_t r, int64_t c) { return data[static_cast<size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return data[static_cast<size_t>(r * cols + c)]; }
};

enum class Sharing { none, row, column, tensor };

/// What remains of x in E4M3 with scales of amax / 448 shared as said, in FP32 arithmetic.
Values quantized(const Values& x, Sharing sharing) {
  if (sharing == Sharing::none) return x;
  const auto group = [&](int64_t r, int64_t c) {
    return static_cast<size_t>(sharing == Sharing::row ? r : sharing == Sharing::column ? c : 0);
  };
  std::vector<float> scales(static_cast<size_t>(std::max(x.rows, x.cols)), 0.0f);
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t c = 0; c < x.cols; ++c)
      scales[group(r, c)] = std::max(scales[group(r, c)], std::fabs(static_cast<float>(x.at(r, c))));
  for (float& s : scales) s = s > 0 ? s / 448.0f : 1.0f;
  Values out(x.rows, x.cols);
  for (int64_t r = 0; r < x.rows; ++r)
    for (int64_t c = 0; c < x.cols; ++c) {
      const float scale = scales[group(r, c)];
      const uint32_t code = encode(Format::e4m3, static_cast<float>(x.at(r, c)) / scale,
                                   Rounding::nearest_even, Overflow::saturate, 0);
      out.at(r, c) = double{decode(Format::e4m3, code)} * double{scale};
    }
  return out;
}

/// sum over k of a(m, k) * b(n, k).
Values product(int64_t m, int64_t n, int64_t k, const std::function<double(int64_t, int64_t)>& a,
               const std::function<double(int64_t, int64_t)>& b) {
  Values c(m, n);
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      for (int64_t l = 0; l < k; ++l) c.at(i, j) += a(i, l) * b(j, l);
  return c;
}

/// Normal numbers that BF16 holds; with outliers, one row and one column are a thousand times larger.
Values random_values(int64_t rows, int64_t cols, uint64_t seed, bool outliers) {
  Values x(rows, cols);
  const Rng rng(seed, 7);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c) {
      double value = rng.normal(static_cast<uint64_t>(r * cols + c));
      if (outliers && (r == 3 || c == 5)) value *= 1000;
      x.at(r, c) = double{bf16_to_float(bf16_from_float(static_cast<float>(value)))};
    }
  return x;
}

std::vector<uint16_t> as_bf16(const Values& x) {
  std::vector<uint16_t> out;
  for (const double v : x.data) out.push_back(bf16_from_float(static_cast<float>(v)));
  return out;
}

/// y, dx (BF16), dw, db of a layer in the numbers of a recipe.
struct Result {
  Values y{kTokens, kOut}, dx{kTokens, kIn}, dw{kOut, kIn};
  std::vector<float> db;
  std::vector<TensorRecord> records;
};

Result run_layer(const Recipe& recipe, const Values& x, const Values& w, const Values& dy, int threads) {
  ThreadPool pool(threads);
  Scaler scaler;
  ParameterSet parameters;
  const ModelConfig config;
  const Build build{config, recipe, scaler, parameters, Purpose::training, 0, 1};
  Linear layer("layer", {kIn, kOut, true, Layer::hidden, false}, build);
  SavedOperand input({"layer", layer.input(), scaler, Purpose::training}, Format::bf16);
  Arena arena;
  parameters.plan(arena, {});
  layer.weight().plan(arena);
  input.plan(arena, kTokens, kIn);
  input.plan_scales(arena, kTokens, kIn);
  input.plan_forward(arena, kTokens, kIn);
  const Arena::Block scratch = arena.reserve("workspace", size_t{1} << 24);
  arena.commit();
  parameters.bind(arena);
  layer.weight().bind(arena);
  input.bind(arena);
  Workspace workspace(arena.at<void>(scratch), size_t{1} << 24);
  Pass pass(pool, workspace, scaler);
  Result result;
  pass.records = &result.records;

  Parameter& weight = *parameters.find("layer.weight");
  for (size_t i = 0; i < w.data.size(); ++i) weight.value[i] = static_cast<float>(w.data[i]);
  layer.weight().refresh(pass);
  {
    const WorkspaceScope scope(workspace);
    const SavedOperand::Draft draft = input.begin(pass, kTokens);
    const std::vector<uint16_t> values = as_bf16(x);
    std::copy(values.begin(), values.end(), static_cast<uint16_t*>(draft.data.data));
    if (draft.amax) *draft.amax = amax(draft.data, pool);
    input.finish(pass, draft);
  }
  std::vector<uint16_t> y(kTokens * kOut), dx(kTokens * kIn);
  const std::vector<uint16_t> gradient = as_bf16(dy);
  layer.forward(pass, input.get(), dense(y.data(), Format::bf16, kTokens, kOut));
  parameters.zero_gradients(pool);
  layer.backward(pass, dense(gradient.data(), Format::bf16, kTokens, kOut), nullptr, input.get(),
                 dense(dx.data(), Format::bf16, kTokens, kIn), false);
  for (size_t i = 0; i < y.size(); ++i) result.y.data[i] = double{bf16_to_float(y[i])};
  for (size_t i = 0; i < dx.size(); ++i) result.dx.data[i] = double{bf16_to_float(dx[i])};
  result.dw.data.assign(weight.grad, weight.grad + weight.size());
  const float* db = parameters.find("layer.bias")->grad;
  result.db.assign(db, db + kOut);
  return result;
}

double relative_error(const Values& found, const Values& expected) {
  double error = 0, size = 0;
  for (size_t i = 0; i < expected.data.size(); ++i) {
    error += (found.data[i] - expected.data[i]) * (found.data[i] - expected.data[i]);
    size += expected.data[i] * expected.data[i];
  }
  return std::sqrt(error / size);
}

/// How each of the six operands shares its scale.
struct Uses {
  Sharing fprop_x, fprop_w, dgrad_dy, dgrad_w, wgrad_dy, wgrad_x;
};

struct Expected {
  Values y, dx, dw;
};

Expected emulate(const Uses& uses, const Values& x, const Values& w, const Values& dy) {
  const Values x1 = quantized(x, uses.fprop_x), w1 = quantized(w, uses.fprop_w);
  const Values dy1 = quantized(dy, uses.dgrad_dy), w2 = quantized(w, uses.dgrad_w);
  const Values dy2 = quantized(dy, uses.wgrad_dy), x2 = quantized(x, uses.wgrad_x);
  return {product(
              kTokens, kOut, kIn, [&](int64_t t, int64_t i) { return x1.at(t, i); },
              [&](int64_t o, int64_t i) { return w1.at(o, i); }),
          product(
              kTokens, kIn, kOut, [&](int64_t t, int64_t o) { return dy1.at(t, o); },
              [&](int64_t i, int64_t o) { return w2.at(o, i); }),
          product(
              kOut, kIn, kTokens, [&](int64_t o, int64_t t) { return dy2.at(t, o); },
              [&](int64_t i, int64_t t) { return x2.at(t, i); })};
}

using enum Sharing;
constexpr Uses kRowUses{row, row, row, column, column, column};

// 2^-8 is a rounding to BF16 of y and dx; dw is FP32. Any operand with its scales the other way is far off.
TEST(Payloads, EachProductReadsScalesAlongItsReduction) {
  struct Case {
    const char* recipe;
    Uses uses;
  };
  for (const auto& [recipe, uses] :
       {Case{"fp8-row", kRowUses}, Case{"fp8-row-hp-wgrad", {row, row, row, tensor, none, none}}})
    for (const bool outliers : {false, true}) {
      SCOPED_TRACE(std::string(recipe) + (outliers ? " with outliers" : ""));
      const Values x = random_values(kTokens, kIn, 1, outliers), w = random_values(kOut, kIn, 2, outliers),
                   dy = random_values(kTokens, kOut, 3, outliers);
      const Result found = run_layer(load_recipe(recipe), x, w, dy, 2);
      const Expected expected = emulate(uses, x, w, dy);
      EXPECT_LT(relative_error(found.y, expected.y), 0x1p-8);
      EXPECT_LT(relative_error(found.dx, expected.dx), 0x1p-8);
      EXPECT_LT(relative_error(found.dw, expected.dw), 1e-5);
      for (int64_t o = 0; o < kOut; ++o) {
        double sum = 0;
        for (int64_t t = 0; t < kTokens; ++t) sum += dy.at(t, o);
        EXPECT_NEAR(double{found.db[static_cast<size_t>(o)]}, sum, 1e-4 * (1 + std::fabs(sum)));
      }
      // The gradient of the weights is not rounded, so it tells every other sharing from the right one.
      for (const Sharing wrong : {row, tensor}) {
        Uses turned = uses;
        turned.wgrad_x = wrong;
        EXPECT_GT(relative_error(found.dw, emulate(turned, x, w, dy).dw), 1e-3);
        turned = uses;
        turned.wgrad_dy = wrong;
        EXPECT_GT(relative_error(found.dw, emulate(turned, x, w, dy).dw), 1e-3);
      }
    }
}

/// Of the elements of a line of outputs that no outlier takes part in.
double plain_error(const Values& found, const Values& exact, int64_t bad_row, int64_t bad_col) {
  Values a(found.rows - 1, found.cols - 1), b = a;
  for (int64_t r = 0, i = 0; r < found.rows; ++r) {
    if (r == bad_row) continue;
    for (int64_t c = 0, j = 0; c < found.cols; ++c) {
      if (c == bad_col) continue;
      a.at(i, j) = found.at(r, c);
      b.at(i, j++) = exact.at(r, c);
    }
    ++i;
  }
  return relative_error(a, b);
}

// With one scale a tensor, a line of large values takes the precision of all others; along the reduction it
// costs none but its own. One operand at a time has such a line: a row where the product sums along rows, a
// column where it sums across them.
TEST(Payloads, AnOutlierCostsOnlyItsOwnLine) {
  const Recipe per_row = load_recipe("fp8-row");
  const Recipe per_tensor =
      parse_recipe("[gemm]\nformat = 'e4m3'\nscaling = { kind = 'current', pow2 = false }\n", "tensor.toml");
  const Values x = random_values(kTokens, kIn, 1, false), w = random_values(kOut, kIn, 2, false),
               dy = random_values(kTokens, kOut, 3, false);
  const auto with_row = [](Values v) {
    for (int64_t c = 0; c < v.cols; ++c) v.at(4, c) *= 0x1p20;
    return v;
  };
  const auto with_column = [](Values v) {
    for (int64_t r = 0; r < v.rows; ++r) v.at(r, 4) *= 0x1p20;
    return v;
  };
  struct Case {
    const char* what;
    Values x, w, dy;
    int result;  // 0: y, 1: dx, 2: dw
    int64_t bad_row, bad_col;
  };
  const Case cases[] = {{"fprop input", with_row(x), w, dy, 0, 4, -1},
                        {"fprop weight", x, with_row(w), dy, 0, -1, 4},
                        {"dgrad grad_output", x, w, with_row(dy), 1, 4, -1},
                        {"dgrad weight", x, with_column(w), dy, 1, -1, 4},
                        {"wgrad grad_output", x, w, with_column(dy), 2, 4, -1},
                        {"wgrad input", with_column(x), w, dy, 2, -1, 4}};
  for (const Case& c : cases) {
    SCOPED_TRACE(c.what);
    const Expected exact = emulate({none, none, none, none, none, none}, c.x, c.w, c.dy);
    const auto error = [&](const Recipe& recipe) {
      const Result found = run_layer(recipe, c.x, c.w, c.dy, 1);
      const Values& value = c.result == 0 ? found.y : c.result == 1 ? found.dx : found.dw;
      const Values& right = c.result == 0 ? exact.y : c.result == 1 ? exact.dx : exact.dw;
      // One more line is left out where the outlier does not say which, to keep the figures comparable.
      return plain_error(value, right, c.bad_row < 0 ? 0 : c.bad_row, c.bad_col < 0 ? 0 : c.bad_col);
    };
    EXPECT_LT(error(per_row), 0.06);
    EXPECT_GT(error(per_tensor), 0.9);
  }
}

TEST(Payloads, EachUseHasItsRecord) {
  const Values x = random_values(kTokens, kIn, 1, true), w = random_values(kOut, kIn, 2, false),
               dy = random_values(kTokens, kOut, 3, false);
  const auto roles = [&](const char* recipe) {
    std::map<std::string, TensorRecord> all;
    for (const TensorRecord& line : run_layer(load_recipe(recipe), x, w, dy, 1).records)
      EXPECT_TRUE(all.emplace(line.role, line).second) << line.role;
    return all;
  };
  const auto both = roles("fp8-row");
  ASSERT_EQ(both.size(), 6u);
  EXPECT_EQ(both.at("gemm.fprop.input").scales, kTokens);
  EXPECT_EQ(both.at("gemm.wgrad.input").scales, kIn);
  EXPECT_EQ(both.at("gemm.fprop.weight").scales, kOut);
  EXPECT_EQ(both.at("gemm.dgrad.weight").scales, kIn);
  EXPECT_EQ(both.at("gemm.dgrad.grad_output").scales, kTokens);
  EXPECT_EQ(both.at("gemm.wgrad.grad_output").scales, kOut);
  const TensorRecord& input = both.at("gemm.wgrad.input");
  EXPECT_EQ(input.amax, both.at("gemm.fprop.input").amax);
  EXPECT_NEAR(input.scale_exponent, std::log2(input.amax / 448), 1e-6);
  EXPECT_LT(input.median_scale_exponent, input.scale_exponent);
  EXPECT_EQ(input.saturation, 0);

  const auto high = roles("fp8-row-hp-wgrad");
  ASSERT_EQ(high.size(), 4u);  // the BF16 uses carry no scale
  EXPECT_EQ(high.at("gemm.dgrad.weight").scales, 1);

  const auto one = roles("fp8-amax");
  ASSERT_EQ(one.size(), 3u);
  EXPECT_EQ(one.count("gemm.input"), 1u);
}

// The two recipes differ in the weight gradients only, once the weight is read alike; everything that comes
// from outputs and input gradients has the same bits.
TEST(Payloads, AWideWeightGradientChangesNothingElse) {
  const Recipe rows = load_recipe("fp8-row");
  Recipe high = rows;
  RoleOverride bf16;
  bf16.format = Format::bf16;
  high.write(Role::gemm_wgrad, bf16);
  for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
    const TestBatch batch(config, 3, 47);
    TestModel exact(config, "fp32", {3, 47, 0}), a(config, rows, {3, 47, 0}), b(config, high, {3, 47, 0});
    exact.train(batch);
    EXPECT_EQ(a.train(batch), b.train(batch));
    const auto right = exact.gradients(), first = a.gradients(), second = b.gradients();
    double nearer = 0, all = 0;
    for (const auto& [name, gradient] : first) {
      const bool in_block = name.find("h.") != std::string::npos || name.find("layers.") != std::string::npos;
      const bool matrix = a.model.parameters().find(name)->decay && in_block;
      EXPECT_EQ(gradient != second.at(name), matrix) << name;
      if (!matrix) continue;
      ++all;
      nearer += distance(second.at(name), right.at(name)) < distance(gradient, right.at(name));
    }
    EXPECT_GT(nearer, 0.7 * all);
  }
}

TEST(Payloads, InferenceReadsWhatTrainingReads) {
  for (const char* recipe : {"fp8-row", "fp8-row-hp-wgrad"})
    for (const ModelConfig& config : {larger(tiny_gpt2()), larger(tiny_llama()), larger(tiny_octavo())}) {
      SCOPED_TRACE(recipe);
      const TestBatch batch(config, 2, 33);
      TestModel training(config, recipe, {2, 33, 0});
      ThreadPool pool(2);
      Transformer inference(config, load_recipe(recipe), Purpose::inference, pool);
      inference.allocate({2, 33, 0});
      randomize(inference);
      EXPECT_EQ(inference.evaluate(batch.view(), batch.targets.data()).loss,
                training.model.evaluate(batch.view(), batch.targets.data()).loss);
      // One byte an element and no more: what only the backward pass reads is not there.
      Transformer amax(config, load_recipe("fp8-amax"), Purpose::inference, pool);
      amax.allocate({2, 33, 0});
      const auto weights = [](const Transformer& m) { return m.memory().categories().at("compute weights"); };
      EXPECT_LT(weights(inference), weights(amax) + weights(amax) / 10);
    }
}

// Kept for the backward pass is one payload; the other shares its memory over the layers.
TEST(Payloads, OnlyTheOneOfTheBackwardPassIsKept) {
  ModelConfig config = larger(tiny_llama());
  const auto activations = [&](const char* recipe, int64_t layers) {
    config.layers = layers;
    ThreadPool pool(1);
    Transformer model(config, load_recipe(recipe), Purpose::training, pool);
    return model.plan({4, 48, 0}).categories().at("activations");
  };
  const auto each = [&](const char* recipe) { return activations(recipe, 9) - activations(recipe, 8); };
  EXPECT_LT(each("fp8-row"), each("fp8-amax") + each("fp8-amax") / 25);  // scales, but no second payload
  EXPECT_EQ(each("fp8-row-hp-wgrad"), each("bf16"));
}

}  // namespace
}  // namespace octavo
