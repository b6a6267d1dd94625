// SPDX-License-Identifier: Apache-2.0
// The encoding of numerics/encode.h, told by a CodeGrid.
#include "octavo/base/rng.h"
#include "octavo/kernels/ref/rows_ref.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

/// A spec with an infinity as the overflow code, or with none, makes encode() do what the grid says.
FormatSpec spec_of(const CodeGrid& grid) {
  FormatSpec s{};
  s.bits = grid.bits;
  s.mantissa_bits = grid.mantissa_bits;
  s.exponent_bits = grid.bits - 1 - grid.mantissa_bits;
  s.bias = grid.bias;
  s.has_sign = true;
  s.has_negative_zero = grid.has_negative_zero;
  s.max_code = grid.max_code;
  s.inf_code = grid.overflow_code;
  s.nan_code = grid.nan_code;
  return s;
}

}  // namespace

uint32_t stored_amax_ref(const StoredRow& x, int64_t n) {
  uint32_t amax = 0;
  for (int64_t i = 0; i < n; ++i) amax = std::max(amax, magnitude_bits(get(x, i)));
  return amax;
}

uint32_t amax_ref(ConstRow x, int64_t cols) {
  return stored_amax_ref({.data = x.data, .format = static_cast<int>(x.bf16 ? Format::bf16 : Format::fp32)},
                         cols);
}

void column_amax_ref(ConstRow x, int64_t rows, int64_t stride, float* largest, int64_t cols) {
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t c = 0; c < cols; ++c)
      largest[c] =
          float_from_bits(std::max(magnitude_bits(largest[c]), magnitude_bits(get(x, r * stride + c))));
}

uint32_t quantize_ref(const QuantizeRow& row, const CodeGrid& grid) {
  const FormatSpec s = spec_of(grid);
  const Rounding rounding = static_cast<Rounding>(row.rounding);
  const Rng rng(row.seed);
  uint32_t amax = 0;
  for (int64_t i = 0; i < row.cols; ++i) {
    const float x = get(row.x, i), scale = row.column_scales ? row.column_scales[i] : row.scale;
    amax = std::max(amax, magnitude_bits(x));
    const uint32_t random =
        rounding == Rounding::stochastic ? rng.words(row.first_index + static_cast<uint64_t>(i))[0] : 0;
    const uint32_t code = encode(s, x / scale, rounding, Overflow::inf, random);
    if (grid.bits == 16)
      static_cast<uint16_t*>(row.codes)[i] = static_cast<uint16_t>(code);
    else
      static_cast<uint8_t*>(row.codes)[i] = static_cast<uint8_t>(code);
  }
  return amax;
}

uint32_t convert_ref(ConstRow x, Row y, int64_t cols) {
  uint32_t amax = 0;
  for (int64_t i = 0; i < cols; ++i) {
    const float value = get(x, i);
    amax = std::max(amax, magnitude_bits(value));
    if (y.bf16)
      static_cast<uint16_t*>(y.data)[i] = bf16_from_float(value);
    else
      static_cast<float*>(y.data)[i] = value;
  }
  return amax;
}

void dequantize_ref(const uint8_t* codes, const float* table, float scale, Row y, int64_t cols) {
  for (int64_t i = 0; i < cols; ++i) put(y, i, table[codes[i]] * scale);
}

uint32_t decode_ref(const StoredRow& x, float* out, int64_t n) {
  uint32_t amax = 0;
  for (int64_t i = 0; i < n; ++i) {
    out[i] = get(x, i);
    amax = std::max(amax, magnitude_bits(out[i]));
  }
  return amax;
}

int64_t count_codes_ref(const void* codes, int bits, uint32_t magnitude, int64_t n) {
  const auto* halves = static_cast<const uint16_t*>(codes);
  const auto* bytes = static_cast<const uint8_t*>(codes);
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += (bits == 16 ? halves[i] & 0x7fffu : bytes[i] & 0x7fu) == magnitude;
  return count;
}

}  // namespace octavo
