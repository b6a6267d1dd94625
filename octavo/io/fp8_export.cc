// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/fp8_export.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <map>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/io/weight_source.h"
#include "octavo/numerics/bf16.h"
#include "octavo/recipe/quantizer.h"
#include "octavo/recipe/statistics.h"

namespace octavo {
namespace {

using Inputs = Quantization::Inputs;
constexpr int32_t kBlock = 128;  // what the kernels of fine-grained FP8 readers are made for

/// The recipe's rule for weights, refused where the files cannot say it.
RoleSpec weight_spec(const Recipe& recipe) {
  RoleSpec spec = recipe.role(Role::gemm_fprop_weight);
  if (!carries_scale(spec.format))
    fail_unsupported(
        fmt::format("recipe {} keeps weights in {}: choose a recipe with e4m3 weights, or the format bf16",
                    recipe.name, to_string(spec.format)));
  if (spec.format != Format::e4m3)
    fail_unsupported(fmt::format(
        "recipe {} has weights in {}: the files hold e4m3 as OCP defines it, whose codes mean other numbers; "
        "choose a recipe with e4m3",
        recipe.name, to_string(spec.format)));
  if (spec.scaling.kind == ScalingKind::automatic)
    fail_unsupported(
        fmt::format("recipe {}: {} scaling of weights cannot be exported, only none, static, constant, "
                    "current, delayed and mse",
                    recipe.name, to_string(spec.scaling)));
  if (spec.scaling.kind == ScalingKind::delayed) spec.scaling.kind = ScalingKind::current;
  return spec;
}

Inputs inputs_of(const Recipe& recipe) {
  const RoleSpec& spec = recipe.role(Role::gemm_fprop_input);
  if (!carries_scale(spec.format)) return Inputs::unquantized;
  if (spec.format != Format::e4m3)
    fail_unsupported(
        fmt::format("recipe {} has inputs in {}: readers of these files quantize inputs to e4m3 only",
                    recipe.name, to_string(spec.format)));
  const ScalingKind kind = spec.scaling.kind;
  return kind == ScalingKind::constant || kind == ScalingKind::none || kind == ScalingKind::static_
             ? Inputs::static_tensor
             : Inputs::dynamic;
}

class Exporter {
 public:
  Exporter(const std::string& source, const Recipe& recipe, const ExportOptions& options, ThreadPool& pool)
      : pool_(pool),
        config_(read_hf_config(source)),
        model_(config_, Recipe(), Purpose::inference,
               pool),  // for its list of parameters; nothing is allocated
        weights_(source, config_, model_.parameters()) {
    if (options.format == ExportFormat::bf16) return;
    if (config_.family == Family::gpt2)
      fail_unsupported(fmt::format(
          "{}: a gpt2 model can be exported in bf16 only (and evaluated in any recipe as it is): its "
          "matrices are stored transposed (Conv1D), and no FP8 convention that readers load "
          "covers them",
          source));
    plan(recipe, options);
    if (!options.as_computed) return;
    vectors_ = FileDtype::f32;
    matrices_ = recipe.wide() == Format::fp32 ? FileDtype::f32 : FileDtype::bf16;
  }

  ExportSummary write(const std::string& directory) {
    ExportSummary summary;
    summary.quantization = quantization_;
    SafetensorsWriter writer(directory + "/model.safetensors", {{"format", "pt"}});
    for (const Parameter& p : model_.parameters().all()) declare(p, writer, summary);
    writer.write_all([&](const TensorDeclaration& declaration) {
      summary.bytes += declaration.bytes;
      return bytes_of(declaration);
    });
    writer.close();
    std::string json = hf_config_json(config_, FileDtype::bf16);
    if (quantization_) json = with_quantization(json, *quantization_);
    write_file_atomic(directory + "/config.json", json);
    const WeightSource written(directory, read_hf_config(directory), model_.parameters());
    for (const auto& [name, scales] : quantized_) written.read(*model_.parameters().find(name), values_);
    return summary;
  }

 private:
  void plan(const Recipe& recipe, const ExportOptions& options) {
    spec_ = weight_spec(recipe);
    Quantization q;
    q.inputs = inputs_of(recipe);
    q.weights = spec_.granularity;
    if (options.granularity) q.weights = {*options.granularity};
    if (options.format == ExportFormat::fp8_block) {
      q.convention = Quantization::Convention::fp8;
      q.weights = {Granularity::block, kBlock, kBlock};
      q.inputs = Inputs::dynamic;  // the convention has nothing else for blocks
    } else if (q.weights.kind != Granularity::tensor && q.weights.kind != Granularity::row) {
      fail_unsupported(fmt::format(
          "recipe {}: scales per {} do not go into compressed-tensors here; choose one a tensor or a "
          "channel, or the format fp8-block",
          recipe.name, to_string(q.weights)));
    }
    if (q.inputs == Inputs::static_tensor) {
      const ScalingSpec& scaling = recipe.role(Role::gemm_fprop_input).scaling;
      input_scale_ = scaling.kind == ScalingKind::constant ? std::ldexp(1.0f, -scaling.exponent) : 1.0f;
    }
    spec_.granularity = q.weights.kind == Granularity::row ? q.weights : GranularitySpec{};
    q.ignore = {"lm_head"};
    const int blocks = static_cast<int>(config_.layers);
    for (const Parameter& p : model_.parameters().all()) {
      if (!is_linear_weight(p) || p.name == "lm_head.weight") continue;
      const std::string module = module_of(p.name);
      if (recipe.keeps_high(module, block_of(module), blocks)) {
        q.ignore.push_back(module);
        continue;
      }
      if (options.format == ExportFormat::fp8_block && (p.rows % kBlock != 0 || p.cols % kBlock != 0))
        fail_unsupported(
            fmt::format("{} is {} x {}: readers of fp8-block need multiples of {} (fused layers, blocks of "
                        "inputs); choose compressed-tensors",
                        p.name, p.rows, p.cols, kBlock));
      quantized_[p.name] = {};
    }
    quantization_ = q;
  }

  /// "model.layers.7.mlp.up_proj" is in block 7.
  static int block_of(const std::string& module) {
    return std::stoi(module.substr(std::strlen("model.layers.")));
  }

  void declare(const Parameter& p, SafetensorsWriter& writer, ExportSummary& summary) {
    const auto found = quantized_.find(p.name);
    summary.bytes_in_bf16 += 2 * static_cast<uint64_t>(p.size());
    if (found == quantized_.end()) {
      writer.add(p.name, p.rows == 1 ? vectors_ : matrices_, disk_shape(p));
      ++summary.kept;
      return;
    }
    // Scales stand before codes in the file, so all weights are quantized once to know them and once more to
    // write.
    QuantizeStats stats;
    quantize_weight(p, &stats);
    found->second = scales_;
    if (const double snr = snr_db(stats); snr < summary.worst_snr_db) {
      summary.worst_snr_db = snr;
      summary.worst_snr_tensor = p.name;
    }
    if (const double underflow = underflow_share(stats); underflow > summary.worst_underflow) {
      summary.worst_underflow = underflow;
      summary.worst_underflow_tensor = p.name;
    }
    const std::string module = module_of(p.name);
    writer.add(p.name, FileDtype::f8_e4m3, disk_shape(p));
    const std::string scale = module + "." + std::string(quantization_->scale_name());
    writer.add(scale, FileDtype::f32,
               quantization_->scale_shape(static_cast<uint64_t>(p.rows), static_cast<uint64_t>(p.cols)));
    scale_of_[scale] = p.name;
    if (quantization_->inputs == Inputs::static_tensor)
      writer.add(module + ".input_scale", FileDtype::f32, {1});
    ++summary.quantized;
  }

  std::span<const std::byte> bytes_of(const TensorDeclaration& declaration) {
    if (const auto scale = scale_of_.find(declaration.name); scale != scale_of_.end())
      return std::as_bytes(std::span<const float>(quantized_.at(scale->second)));
    if (declaration.name.ends_with(".input_scale"))
      return std::as_bytes(std::span<const float>(&input_scale_, 1));
    const Parameter& p = *model_.parameters().find(declaration.name);
    if (quantized_.contains(p.name)) {
      quantize_weight(p, nullptr);
      return std::as_bytes(std::span<const uint8_t>(codes_));
    }
    weights_.read(p, values_);
    if (p.transposed_on_disk) {
      std::vector<float> turned(values_.size());
      transpose(values_.data(), p.rows, p.cols, turned.data());
      values_.swap(turned);
    }
    if (declaration.dtype == FileDtype::f32) return std::as_bytes(std::span<const float>(values_));
    narrow_.resize(values_.size());
    for (size_t i = 0; i < values_.size(); ++i) narrow_[i] = bf16_from_float(values_[i]);
    return std::as_bytes(std::span<const uint16_t>(narrow_));
  }

  /// codes_ and scales_ of a weight; `stats`: added to, or nullptr.
  void quantize_weight(const Parameter& p, QuantizeStats* stats) {
    weights_.read(p, values_);
    if (!std::isfinite(amax(dense(values_.data(), Format::fp32, p.rows, p.cols), pool_)))
      fail_data(fmt::format("{}: {} holds a NaN or an infinity", config_.name, p.name));
    codes_.resize(values_.size());
    const bool blocks = quantization_->weights.kind == Granularity::block;
    const int64_t rows = blocks ? kBlock : p.rows, cols = blocks ? kBlock : p.cols;
    scales_.assign(static_cast<size_t>(scale_count(quantization_->weights, p.rows, p.cols)), 1.0f);
    Scaler scaler;
    const Scaler::Slot slot = scaler.add(p.name, spec_);
    float* scale = scales_.data();
    for (int64_t r = 0; r < p.rows; r += rows)
      for (int64_t c = 0; c < p.cols; c += cols, ++scale) {
        QuantizeRequest request;
        request.x = {values_.data() + r * p.cols + c, Format::fp32, rows, cols, p.cols};
        request.stats = stats;
        ScaledTensor out;
        out.codes = {codes_.data() + r * p.cols + c, Format::e4m3, rows, cols, p.cols};
        out.scales = scale;
        quantize_tensor(scaler, slot, request, out, pool_);
      }
  }

  ThreadPool& pool_;
  ModelConfig config_;
  Transformer model_;
  WeightSource weights_;
  FileDtype vectors_ = FileDtype::bf16, matrices_ = FileDtype::bf16;  // of what is not quantized
  RoleSpec spec_;
  std::optional<Quantization> quantization_;
  float input_scale_ = 1;
  std::map<std::string, std::vector<float>> quantized_;  // weight -> scales
  std::map<std::string, std::string> scale_of_;          // scale -> weight
  std::vector<float> values_, scales_;
  std::vector<uint8_t> codes_;
  std::vector<uint16_t> narrow_;
};

}  // namespace

ExportSummary export_model(const std::string& source, const std::string& directory, const Recipe& recipe,
                           const ExportOptions& options, ThreadPool& pool) {
  return Exporter(source, recipe, options, pool).write(directory);
}

}  // namespace octavo
