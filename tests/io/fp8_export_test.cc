// SPDX-License-Identifier: Apache-2.0
// What export_model writes, read back and compared with a quantization done here.
#include "octavo/io/fp8_export.h"

#include <cmath>
#include <functional>
#include <memory>

#include "io/io_test_util.h"
#include "io/small_model.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/weight_source.h"
#include "octavo/numerics/encode.h"
#include "octavo/numerics/scale.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace {

class Fp8Export : public testing::Test {
 protected:
  /// A model with random weights in `dir`/model.
  void make(const ModelConfig& c) {
    config = c;
    model = std::make_unique<Transformer>(config, load_recipe("fp32"), Purpose::training, pool);
    model->allocate({1, 1});
    model->initialize(3);
    std::filesystem::create_directories(dir / "model");
    std::filesystem::create_directories(dir / "out");
    save_hf_model(dir / "model", *model, FileDtype::f32);
  }
  ExportSummary write(const std::string& recipe, ExportOptions options) {
    return export_model(
        dir / "model", dir / "out",
        recipe.find('\n') == std::string::npos ? load_recipe(recipe) : parse_recipe(recipe, "mine.toml"),
        options, pool);
  }
  /// The exported values against x -> code * scale done here, with `scale_of(amax)` over blocks.
  void expect_values(const std::string& name, int64_t rows, int64_t cols,
                     const std::function<float(float)>& scale_of) {
    const Parameter& p = *model->parameters().find(name);
    const WeightSource source(dir / "out", read_hf_config(dir / "out"), model->parameters());
    std::vector<float> got;
    source.read(p, got);
    for (int64_t r0 = 0; r0 < p.rows; r0 += rows)
      for (int64_t c0 = 0; c0 < p.cols; c0 += cols) {
        float most = 0;
        const auto each = [&](auto visit) {
          for (int64_t r = r0; r < std::min(r0 + rows, p.rows); ++r)
            for (int64_t c = c0; c < std::min(c0 + cols, p.cols); ++c)
              visit(static_cast<size_t>(r * p.cols + c));
        };
        each([&](size_t i) { most = std::max(most, std::fabs(p.value[i])); });
        const float scale = scale_of(most);
        each([&](size_t i) {
          const float code =
              quantize_value(Format::e4m3, p.value[i] / scale, Rounding::nearest_even, Overflow::saturate);
          ASSERT_EQ(got[i], code * scale) << name << " " << i;
        });
      }
  }
  static float pow2_scale(float most) { return scale_from_bias(*pow2_bias(most, Format::e4m3, 0)); }

  TempDir dir;
  ThreadPool pool{2};
  ModelConfig config;
  std::unique_ptr<Transformer> model;
};

TEST_F(Fp8Export, PerTensorIsWhatTheEngineComputesWith) {
  make(small_model_config(16, 20));
  const ExportSummary summary = write("fp8-amax", {});
  EXPECT_EQ(summary.quantized, 7);
  EXPECT_EQ(summary.kept, 5);
  EXPECT_EQ(summary.quantization->inputs, Quantization::Inputs::dynamic);
  for (const char* name : {"self_attn.q_proj", "self_attn.o_proj", "mlp.up_proj", "mlp.down_proj"})
    expect_values(std::string("model.layers.0.") + name + ".weight", 1 << 20, 1 << 20, pow2_scale);
  const TensorDirectory files(dir / "out");
  EXPECT_EQ(files.get("lm_head.weight").dtype(), FileDtype::bf16);
  EXPECT_EQ(files.get("model.embed_tokens.weight").dtype(), FileDtype::bf16);
  EXPECT_EQ(files.find("model.layers.0.mlp.up_proj.input_scale"), nullptr);
}

TEST_F(Fp8Export, PerChannelAndScalesThatAreNoPowersOfTwo) {
  make(small_model_config(16, 20));
  ExportOptions options;
  options.granularity = Granularity::row;
  write("[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"current\"\npow2 = false\n", options);
  expect_values("model.layers.0.mlp.down_proj.weight", 1, 1 << 20,
                [](float most) { return *amax_scale(most, Format::e4m3); });
  EXPECT_EQ(TensorDirectory(dir / "out").get("model.layers.0.mlp.down_proj.weight_scale").shape(),
            (std::vector<uint64_t>{16, 1}));
}

TEST_F(Fp8Export, Blocks) {
  make(small_model_config(256, 384));
  ExportOptions options;
  options.format = ExportFormat::fp8_block;
  write("fp8-amax", options);
  expect_values("model.layers.0.mlp.gate_proj.weight", 128, 128, pow2_scale);
  expect_values("model.layers.0.self_attn.k_proj.weight", 128, 128, pow2_scale);
  EXPECT_EQ(TensorDirectory(dir / "out").get("model.layers.0.mlp.gate_proj.weight_scale_inv").shape(),
            (std::vector<uint64_t>{3, 2}));
}

TEST_F(Fp8Export, ConstantScalesMakeStaticInputs) {
  make(small_model_config(16, 20));
  write(
      "[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"constant\"\nexponent = "
      "4\n[gemm.input.scaling]\nexponent = -1\n",
      {});
  expect_values("model.layers.0.mlp.up_proj.weight", 1 << 20, 1 << 20, [](float) { return 0.0625f; });
  float scale = 0;
  widen(TensorDirectory(dir / "out").get("model.layers.0.mlp.up_proj.input_scale"), &scale);
  EXPECT_EQ(scale, 2.0f);
}

TEST_F(Fp8Export, LayersKeptHighAreIgnoredAndStayPlain) {
  make(small_model_config(16, 20));
  const ExportSummary summary = write(
      "[gemm]\nformat = \"e4m3\"\n[gemm.scaling]\nkind = \"current\"\n[layers]\nkeep_high = [\"lm_head\", "
      "\"*.down_proj\"]\n",
      {});
  EXPECT_EQ(summary.quantized, 6);
  EXPECT_EQ(summary.quantization->ignore,
            (std::vector<std::string>{"lm_head", "model.layers.0.mlp.down_proj"}));
  EXPECT_EQ(TensorDirectory(dir / "out").get("model.layers.0.mlp.down_proj.weight").dtype(), FileDtype::bf16);
}

TEST_F(Fp8Export, WhatCannotBeExportedSaysWhy) {
  make(small_model_config(16, 20));
  const auto refusal = [&](const std::string& recipe, ExportOptions options = {}) {
    return error_of([&] { write(recipe, options); }, ExitCode::unsupported);
  };
  expect_contains(refusal("fp8-amax-fnuz"), "e4m3fnuz: the files hold e4m3 as OCP defines it");
  expect_contains(refusal("bf16"), "keeps weights in bf16");
  expect_contains(refusal("[gemm]\nformat = \"e4m3\"\n[gemm.input]\nformat = \"e5m2\"\n"), "inputs in e5m2");
  ExportOptions block;
  block.format = ExportFormat::fp8_block;
  expect_contains(refusal("fp8-amax", block),
                  "q_proj.weight is 16 x 16: readers of fp8-block need multiples of 128");
  ModelConfig gpt2 = small_model_config(16, 20);
  gpt2.family = Family::gpt2;
  gpt2.kv_heads = 2;
  gpt2.activation = Activation::gelu_tanh;
  gpt2.tied_head = true;
  make(gpt2);
  expect_contains(refusal("fp8-amax"), "a gpt2 model can be exported in bf16 only");
  ExportOptions plain;
  plain.format = ExportFormat::bf16;
  EXPECT_EQ(write("fp8-amax", plain).quantized, 0);
  const WeightSource source(dir / "out", read_hf_config(dir / "out"), model->parameters());
  const Parameter& p = *model->parameters().find("transformer.h.0.mlp.c_fc.weight");
  std::vector<float> values;
  source.read(p, values);
  for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], bf16_to_float(bf16_from_float(p.value[i])));
}

TEST_F(Fp8Export, WeightsThatAreNotFiniteAreRefused) {
  make(small_model_config(16, 20));
  model->parameters().find("model.layers.0.self_attn.v_proj.weight")->value[5] = NAN;
  save_hf_model(dir / "model", *model, FileDtype::f32);
  expect_contains(error_of([&] { write("fp8-amax", {}); }), "v_proj.weight holds a NaN or an infinity");
}

}  // namespace
}  // namespace octavo
