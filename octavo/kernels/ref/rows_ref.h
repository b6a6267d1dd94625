// SPDX-License-Identifier: Apache-2.0
// The reference variant of row_kernels.h: what the others are tested against. Arithmetic in double, rounded
// once to FP32 and then to the output format, except where a function says otherwise.
#pragma once
#include <algorithm>
#include <cstdint>

#include "octavo/kernels/row_kernels.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/float_bits.h"

namespace octavo {

inline float get(ConstRow row, int64_t i) {
  return row.bf16 ? bf16_to_float(static_cast<const uint16_t*>(row.data)[i])
                  : static_cast<const float*>(row.data)[i];
}
inline float get(Row row, int64_t i) { return get(ConstRow{row.data, row.bf16}, i); }

inline float get(const StoredRow& row, int64_t i) {
  switch (static_cast<Format>(row.format)) {
    case Format::fp32:
      return static_cast<const float*>(row.data)[i];
    case Format::bf16:
      return bf16_to_float(static_cast<const uint16_t*>(row.data)[i]);
    case Format::fp16:
      return decode(Format::fp16, static_cast<const uint16_t*>(row.data)[i]) * row.scale;
    default:
      return row.table[static_cast<const uint8_t*>(row.data)[i]] * row.scale;
  }
}

/// Returns the value as stored.
inline float put(Row row, int64_t i, double value) {
  const float x = static_cast<float>(value);
  if (!row.bf16) return static_cast<float*>(row.data)[i] = x;
  const uint16_t code = bf16_from_float(x);
  static_cast<uint16_t*>(row.data)[i] = code;
  return bf16_to_float(code);
}

/// See RowKernels.
inline uint32_t magnitude_bits(float x) { return float_bits(x) & 0x7fffffff; }

void column_amax_ref(ConstRow x, int64_t rows, int64_t stride, float* largest, int64_t cols);
uint32_t quantize_ref(const QuantizeRow& row, const CodeGrid& grid);
uint32_t convert_ref(ConstRow x, Row y, int64_t cols);
void dequantize_ref(const uint8_t* codes, const float* table, float scale, Row y, int64_t cols);
uint32_t decode_ref(const StoredRow& x, float* out, int64_t n);
uint32_t amax_ref(ConstRow x, int64_t cols);
uint32_t stored_amax_ref(const StoredRow& x, int64_t n);
int64_t count_codes_ref(const void* codes, int bits, uint32_t magnitude, int64_t n);
void round_fp16_ref(float* x, int64_t n);
void sum_fp16_ref(const Fp16SumBlock& g);
uint32_t norm_forward_ref(NormForwardRow& row);
uint32_t norm_apply_ref(const NormForwardRow& row);
void norm_backward_ref(const NormBackwardRow& row);
uint32_t activation_forward_ref(const ActivationForwardRow& row);
void activation_backward_ref(ActivationBackwardRow& row);
void rope_ref(Row x, int64_t heads, int64_t head_dim, const float* cos, const float* sin, bool inverse);
void softmax_stats_ref(ConstRow x, int64_t cols, float* max, float* sum);
void softmax_apply_ref(Row x, int64_t cols, float max, float factor);
void add_ref(ConstRow a, ConstRow b, Row y, int64_t cols);
void accumulate_ref(ConstRow x, float* sum, int64_t cols);
void column_sum_ref(ConstRow x, int64_t rows, int64_t stride, float* sum, int64_t cols);
double sum_squares_ref(const StoredRow& x, int64_t n);
void sum_codes_ref(SumRow& row);
void adamw_ref(const AdamWStep& step, OptimizerRow& row);
void adamw_moments_ref(const AdamWStep& step, OptimizerRow& row);
void lion_ref(const LionStep& step, OptimizerRow& row);
void lion_moment_ref(const LionStep& step, OptimizerRow& row);

extern const RowKernels kRowKernelsRef;

}  // namespace octavo
