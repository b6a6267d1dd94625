// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/quantized_weights.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

using Inputs = Quantization::Inputs;

[[noreturn]] void fail(const TensorInfo& tensor, const std::string& what) {
  fail_data(fmt::format("{}: tensor {} {}", tensor.file(), quote_name(tensor.name()), what));
}

bool is_scale_name(std::string_view name) {
  for (const char* end : {".weight_scale", ".weight_scale_inv", ".input_scale", ".activation_scale",
                          ".weight_zero_point", ".input_zero_point", ".output_scale", ".k_scale", ".v_scale"})
    if (name.ends_with(end)) return true;
  return false;
}

bool is_below_16_bits(FileDtype dtype) { return file_dtype_bits(dtype) <= 8; }

void check_scale(const TensorInfo& scale, const std::vector<uint64_t>& shape) {
  const FileDtype dtype = scale.dtype();
  if (dtype != FileDtype::f32 && dtype != FileDtype::bf16 && dtype != FileDtype::f16)
    fail(scale, fmt::format("is {}, a scale must be F32, BF16 or F16", file_dtype_name(dtype)));
  // One scale may be written as a scalar, one for each row without the second dimension.
  std::vector<uint64_t> short_form = shape;
  if (short_form.back() == 1) short_form.pop_back();
  if (scale.shape() != shape && scale.shape() != short_form)
    fail(scale, fmt::format("has shape [{}], its weight asks for [{}]", fmt::join(scale.shape(), ", "),
                            fmt::join(shape, ", ")));
  std::vector<float> values(scale.elements());
  widen(scale, values.data());
  for (size_t i = 0; i < values.size(); ++i)
    if (!std::isfinite(values[i]) || values[i] <= 0)
      fail(scale, fmt::format("is {} at {}, a scale must be positive and finite", values[i], i));
}

}  // namespace

bool is_linear_weight(const Parameter& p) {
  return p.decay && p.rows > 1 && p.name.ends_with(".weight") && p.name != "model.embed_tokens.weight";
}

std::string module_of(const std::string& tensor) { return tensor.substr(0, tensor.rfind('.')); }

std::vector<std::string> check_quantized_weights(const TensorDirectory& files, const Quantization& q,
                                                 std::vector<StoredParameter>& parameters) {
  std::vector<std::string> used;
  const auto take = [&](const TensorInfo& weight, const std::string& name,
                        const std::vector<uint64_t>& shape) {
    const TensorInfo* scale = files.find(name);
    if (!scale) fail(weight, fmt::format("is quantized but {} is missing", quote_name(name)));
    check_scale(*scale, shape);
    used.push_back(name);
    return scale;
  };
  for (StoredParameter& stored : parameters) {
    const TensorInfo& tensor = *stored.tensor;
    const std::string module = module_of(tensor.name());
    const bool linear = is_linear_weight(*stored.parameter);
    const bool ignored = q.ignores(module) || q.ignores(module_of(stored.parameter->name));
    if (!is_below_16_bits(tensor.dtype())) {
      // Readers of "fp8" leave the head alone without being told.
      const bool head = q.convention == Quantization::Convention::fp8 && module == "lm_head";
      if (linear && !ignored && !head && !q.has_patterns())
        fail(tensor,
             fmt::format("is {}, but quantization_config quantizes every linear layer it does not ignore",
                         file_dtype_name(tensor.dtype())));
      continue;
    }
    if (tensor.dtype() != FileDtype::f8_e4m3)
      fail(tensor, fmt::format("is {}, quantized weights must be F8_E4M3", file_dtype_name(tensor.dtype())));
    if (!linear) fail(tensor, "is F8_E4M3 but is no linear layer's weight");
    if (ignored) fail(tensor, "is F8_E4M3 although quantization_config ignores its layer");
    stored.scale = take(tensor, module + "." + std::string(q.scale_name()),
                        q.scale_shape(tensor.shape()[0], tensor.shape()[1]));
    if (q.inputs == Inputs::static_tensor) take(tensor, module + ".input_scale", {1});
  }
  std::sort(used.begin(), used.end());
  for (const std::string& name : files.names())
    if (is_scale_name(name) && !std::binary_search(used.begin(), used.end(), name))
      fail(files.get(name), fmt::format("is a scale that belongs to no {} weight of quantization_config ({})",
                                        file_dtype_name(FileDtype::f8_e4m3), q.scale_name()));
  return used;
}

void dequantize_weight(const StoredParameter& stored, const Quantization& q, float* out) {
  const std::vector<uint64_t>& shape = stored.tensor->shape();
  const uint64_t rows = shape[0], cols = shape[1];
  std::vector<float> scales(stored.scale->elements());
  widen(*stored.scale, scales.data());
  // Every granularity as blocks: the whole tensor, one row, or what the file says.
  const uint64_t block_rows = q.weights.kind == Granularity::tensor ? rows
                              : q.weights.kind == Granularity::row
                                  ? 1
                                  : static_cast<uint64_t>(q.weights.block_rows);
  const uint64_t block_cols =
      q.weights.kind == Granularity::block ? static_cast<uint64_t>(q.weights.block_cols) : cols;
  const uint64_t across = (cols + block_cols - 1) / block_cols;
  const std::byte* codes = stored.tensor->data().data();
  bool nan = false;
  for (uint64_t r = 0; r < rows; ++r)
    for (uint64_t b = 0; b < across; ++b) {
      const float scale = scales[r / block_rows * across + b];
      const uint64_t end = std::min(cols, (b + 1) * block_cols);
      for (uint64_t c = b * block_cols; c < end; ++c) {
        const auto code = static_cast<uint8_t>(codes[r * cols + c]);
        nan |= (code & 0x7f) == 0x7f;
        out[r * cols + c] = kDecodeTable<Format::e4m3>[code] * scale;
      }
    }
  if (nan) fail(*stored.tensor, "holds a NaN");
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
      if (n > 0) std::memcpy(out, from, static_cast<size_t>(n) * 4);
      return;
    case FileDtype::bf16:
      each16([](uint16_t c) { return bf16_to_float(c); });
      return;
    case FileDtype::f16:
      each16([](uint16_t c) { return decode<Format::fp16>(c); });
      return;
    default:
      fail_unsupported(
          fmt::format("{}: tensor {} is {}, only F32, BF16, F16 and, with a quantization_config, F8_E4M3 are "
                      "read as weights",
                      tensor.file(), tensor.name(), file_dtype_name(tensor.dtype())));
  }
}

}  // namespace octavo
