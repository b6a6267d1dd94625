// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/gemm_internal.h"
#include "octavo/numerics/bf16.h"

namespace octavo {
namespace {

float element(const GemmOperand& operand, const GemmDecode* table, int64_t row, int64_t k) {
  const int64_t at = operand.k_contiguous ? row * operand.stride + k : k * operand.stride + row;
  switch (operand.format) {
    case Format::fp32:
      return static_cast<const float*>(operand.data)[at];
    case Format::bf16:
      return bf16_to_float(static_cast<const uint16_t*>(operand.data)[at]);
    default:
      return table->value[static_cast<const uint8_t*>(operand.data)[at]];
  }
}

float scale(const GemmOperand& operand, int64_t row) {
  return operand.scale ? operand.scale[operand.scale_per_row ? row : 0] : 1.0f;
}

const GemmDecode* table_of(const GemmOperand& operand) {
  return bytes(operand.format) == 1 ? &gemm_decode(operand.format) : nullptr;
}

}  // namespace

void gemm_ref(const GemmArgs& args, ThreadPool& pool) {
  const GemmDecode* table_a = table_of(args.a);
  const GemmDecode* table_b = table_of(args.b);
  pool.parallel_for(args.m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t m = begin; m < end; ++m) {
      for (int64_t n = 0; n < args.n; ++n) {
        double sum = 0;
        for (int64_t k = 0; k < args.k; ++k)
          sum += static_cast<double>(element(args.a, table_a, m, k)) * element(args.b, table_b, n, k);
        const float factor = args.alpha * scale(args.a, m) * scale(args.b, n);
        float value = static_cast<float>(sum) * factor;
        if (args.bias) value += args.bias[n];
        const int64_t at = m * args.c_stride + n;
        if (args.c_format == Format::bf16) {
          uint16_t* c = static_cast<uint16_t*>(args.c) + at;
          *c = bf16_from_float(args.accumulate ? bf16_to_float(*c) + value : value);
        } else {
          float* c = static_cast<float*>(args.c) + at;
          *c = args.accumulate ? *c + value : value;
        }
      }
    }
  });
}

}  // namespace octavo
