// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/weight_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "octavo/base/error.h"

namespace octavo {
namespace {

// Older exports leave the outer module's name away ("h.0.ln_1.weight"), and a tied matrix may be stored under
// either of its names.
const TensorInfo* find_tensor(const TensorDirectory& files, const std::string& name, bool tied) {
  if (const TensorInfo* tensor = files.find(name)) return tensor;
  const size_t dot = name.find('.');
  if (name.rfind("transformer.", 0) == 0 || name.rfind("model.", 0) == 0)
    if (const TensorInfo* tensor = files.find(name.substr(dot + 1))) return tensor;
  const bool table = name == "transformer.wte.weight" || name == "model.embed_tokens.weight";
  return tied && table ? files.find("lm_head.weight") : nullptr;
}

// Constants some exports carry along.
bool ignorable(std::string_view name, bool tied) {
  return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias") ||
         name.ends_with("rotary_emb.inv_freq") || (tied && name == "lm_head.weight");
}

}  // namespace

std::vector<uint64_t> disk_shape(const Parameter& p) {
  const uint64_t rows = static_cast<uint64_t>(p.rows), cols = static_cast<uint64_t>(p.cols);
  if (p.rows == 1 && !p.decay) return {cols};
  if (p.transposed_on_disk) return {cols, rows};
  return {rows, cols};
}

void transpose(const float* in, int64_t rows, int64_t cols, float* out) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (int64_t c0 = 0; c0 < cols; c0 += kTile)
      for (int64_t r = r0; r < std::min(r0 + kTile, rows); ++r)
        for (int64_t c = c0; c < std::min(c0 + kTile, cols); ++c) out[c * rows + r] = in[r * cols + c];
}

WeightSource::WeightSource(const std::string& directory, const ModelConfig& config,
                           const ParameterSet& parameters)
    : files_(directory), quantization_(read_quantization(JsonObject::read(directory + "/config.json"))) {
  const bool tied = config.tied_head;
  if (quantization_ && config.family == Family::gpt2)
    fail_unsupported(fmt::format(
        "{}: a quantization_config of a gpt2 model is not supported: its matrices are stored transposed, "
        "which the FP8 conventions do not cover",
        quantization_->source));
  std::set<std::string> used;
  for (const Parameter& p : parameters.all()) {
    const TensorInfo* tensor = find_tensor(files_, p.name, tied);
    if (!tensor)
      fail_data(fmt::format("{}: tensor {} is missing, config.json asks for it", directory, p.name));
    if (tensor->shape() != disk_shape(p))
      fail_data(fmt::format("{}: tensor {} has shape [{}], config.json asks for [{}]", tensor->file(),
                            tensor->name(), fmt::join(tensor->shape(), ", "),
                            fmt::join(disk_shape(p), ", ")));
    used.insert(tensor->name());
    index_.emplace(&p, stored_.size());
    stored_.push_back({&p, tensor, nullptr});
  }
  if (quantization_)
    for (std::string& scale : check_quantized_weights(files_, *quantization_, stored_))
      used.insert(std::move(scale));
  for (const std::string& name : files_.names())
    if (!used.contains(name) && !ignorable(name, tied))
      fail_data(fmt::format("{}: tensor {} belongs to no parameter of the model config.json describes",
                            directory, name));
}

void WeightSource::read(const Parameter& p, std::vector<float>& out) const {
  const StoredParameter& stored = stored_[index_.at(&p)];
  out.resize(static_cast<size_t>(p.size()));
  if (stored.scale) {
    dequantize_weight(stored, *quantization_, out.data());
    return;
  }
  widen(*stored.tensor, out.data());
  if (!p.transposed_on_disk) return;
  std::vector<float> turned(out.size());
  transpose(out.data(), p.cols, p.rows, turned.data());
  out.swap(turned);
}

}  // namespace octavo
