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

/// One element after scale and bias.
float value_at(const GemmArgs& args, const GemmDecode* table_a, const GemmDecode* table_b, int64_t m,
               int64_t n) {
  double sum = 0;
  for (int64_t k = 0; k < args.k; ++k)
    sum += static_cast<double>(element(args.a, table_a, m, k)) * element(args.b, table_b, n, k);
  const float factor = args.alpha * scale(args.a, m) * scale(args.b, n);
  const float value = static_cast<float>(sum) * factor;
  return args.bias ? value + args.bias[n] : value;
}

}  // namespace

void gemm_ref(const GemmArgs& args, ThreadPool& pool) {
  const GemmDecode* table_a = table_of(args.a);
  const GemmDecode* table_b = table_of(args.b);
  GemmFinish finish(args);
  pool.parallel_for(args.m, 1, [&](int64_t begin, int64_t end) {
    constexpr int64_t kColumns = 64;
    float row[kColumns];
    for (int64_t m = begin; m < end; ++m)
      for (int64_t n0 = 0; n0 < args.n; n0 += kColumns) {
        const int64_t n = std::min(kColumns, args.n - n0);
        for (int64_t i = 0; i < n; ++i) row[i] = value_at(args, table_a, table_b, m, n0 + i);
        finish.block(row, kColumns, m, 1, n0, n);
      }
  });
  finish.report();
}

}  // namespace octavo
