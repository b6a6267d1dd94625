// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/hf_model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <set>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/io/safetensors_writer.h"
#include "octavo/io/tensor_directory.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"

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
  const auto ends = [&](std::string_view end) {
    return name.size() >= end.size() && name.substr(name.size() - end.size()) == end;
  };
  return ends(".attn.bias") || ends(".attn.masked_bias") || ends("rotary_emb.inv_freq") ||
         (tied && name == "lm_head.weight");
}

std::vector<uint64_t> disk_shape(const Parameter& p) {
  const uint64_t rows = static_cast<uint64_t>(p.rows), cols = static_cast<uint64_t>(p.cols);
  if (p.rows == 1 && !p.decay) return {cols};
  if (p.transposed_on_disk) return {cols, rows};
  return {rows, cols};
}

void widen(const TensorInfo& tensor, float* out) {
  const std::byte* from = tensor.data().data();
  const int64_t n = static_cast<int64_t>(tensor.elements());
  const auto each16 = [&](auto convert) {
    for (int64_t i = 0; i < n; ++i) {
      uint16_t code;
      std::memcpy(&code, from + 2 * i, 2);
      out[i] = convert(code);
    }
  };
  switch (tensor.dtype()) {
    case FileDtype::f32:
      std::memcpy(out, from, static_cast<size_t>(n) * 4);
      return;
    case FileDtype::bf16:
      each16([](uint16_t c) { return bf16_to_float(c); });
      return;
    case FileDtype::f16:
      each16([](uint16_t c) { return decode<Format::fp16>(c); });
      return;
    default:
      fail_unsupported(fmt::format("{}: tensor {} is {}, only F32, BF16 and F16 are read as weights",
                                   tensor.file(), tensor.name(), file_dtype_name(tensor.dtype())));
  }
}

void transpose(const float* in, int64_t rows, int64_t cols, float* out) {
  constexpr int64_t kTile = 32;
  for (int64_t r0 = 0; r0 < rows; r0 += kTile)
    for (int64_t c0 = 0; c0 < cols; c0 += kTile)
      for (int64_t r = r0; r < std::min(r0 + kTile, rows); ++r)
        for (int64_t c = c0; c < std::min(c0 + kTile, cols); ++c) out[c * rows + r] = in[r * cols + c];
}

}  // namespace

void load_hf_weights(const std::string& directory, Transformer& model,
                     const std::function<void(int64_t, int64_t)>& progress) {
  const TensorDirectory files(directory);
  const bool tied = model.config().tied_head;
  std::set<std::string> used;
  std::vector<float> values, transposed;
  int64_t done = 0;
  for (Parameter& p : model.parameters().all()) {
    const TensorInfo* tensor = find_tensor(files, p.name, tied);
    if (!tensor)
      fail_data(fmt::format("{}: tensor {} is missing, config.json asks for it", directory, p.name));
    if (tensor->shape() != disk_shape(p))
      fail_data(fmt::format("{}: tensor {} has shape [{}], config.json asks for [{}]", tensor->file(),
                            tensor->name(), fmt::join(tensor->shape(), ", "),
                            fmt::join(disk_shape(p), ", ")));
    used.insert(tensor->name());
    values.resize(static_cast<size_t>(p.size()));
    widen(*tensor, values.data());
    if (p.transposed_on_disk) {
      transposed.resize(values.size());
      transpose(values.data(), p.cols, p.rows, transposed.data());
      values.swap(transposed);
    }
    model.set_parameter(p, values.data());
    done += p.size();
    if (progress) progress(done, model.parameters().total_size());
  }
  for (const std::string& name : files.names())
    if (!used.count(name) && !ignorable(name, tied))
      fail_data(fmt::format("{}: tensor {} belongs to no parameter of the model config.json describes",
                            directory, name));
}

void save_hf_model(const std::string& directory, Transformer& model, FileDtype dtype) {
  SafetensorsWriter writer(directory + "/model.safetensors", {{"format", "pt"}});
  for (const Parameter& p : model.parameters().all()) writer.add(p.name, dtype, disk_shape(p));
  std::vector<float> transposed;
  std::vector<uint16_t> narrow;
  writer.write_all([&](const TensorDeclaration& declaration) -> std::span<const std::byte> {
    const Parameter& p = *model.parameters().find(declaration.name);
    const float* values = p.value;
    if (p.transposed_on_disk) {
      transposed.resize(static_cast<size_t>(p.size()));
      transpose(p.value, p.rows, p.cols, transposed.data());
      values = transposed.data();
    }
    const size_t n = static_cast<size_t>(p.size());
    if (dtype == FileDtype::f32) return std::as_bytes(std::span(values, n));
    narrow.resize(n);
    for (size_t i = 0; i < n; ++i) narrow[i] = bf16_from_float(values[i]);
    return std::as_bytes(std::span<const uint16_t>(narrow));
  });
  writer.close();
  write_file_atomic(directory + "/config.json", hf_config_json(model.config(), dtype));
}

}  // namespace octavo
