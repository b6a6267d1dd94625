// SPDX-License-Identifier: Apache-2.0
// Blocks of a problem as the kernels see them.
#include "octavo/kernels/gemm_internal.h"

namespace octavo {
namespace {

const float* from_row(const GemmOperand& operand, int64_t row) {
  return operand.scale && operand.scale_per_row ? operand.scale + row : operand.scale;
}

}  // namespace

GemmPack gemm_block_of(const GemmOperand& operand, int64_t row, int64_t k0) {
  const int64_t at = operand.k_contiguous ? row * operand.stride + k0 : k0 * operand.stride + row;
  GemmPack p;
  p.data = static_cast<const char*>(operand.data) + at * bytes(operand.format);
  p.stride = operand.stride;
  p.k_contiguous = operand.k_contiguous;
  p.element = operand.format == Format::fp32   ? GemmElement::fp32
              : operand.format == Format::bf16 ? GemmElement::bf16
                                               : GemmElement::fp8;
  if (p.element == GemmElement::fp8) p.decode = &gemm_decode(operand.format);
  return p;
}

GemmStore gemm_store_of(const GemmArgs& args, const float* sum, int64_t sum_stride, int64_t m0, int64_t m,
                        int64_t n0, int64_t n) {
  GemmStore s;
  s.sum = sum;
  s.sum_stride = sum_stride;
  s.m = m;
  s.n = n;
  if (args.c) s.c = static_cast<char*>(args.c) + (m0 * args.c_stride + n0) * bytes(args.c_format);
  s.c_stride = args.c_stride;
  s.c_is_bf16 = args.c_format == Format::bf16;
  s.accumulate = args.accumulate;
  s.alpha = args.alpha;
  s.scale_a = from_row(args.a, m0);
  s.scale_b = from_row(args.b, n0);
  s.scale_a_per_row = args.a.scale_per_row;
  s.scale_b_per_row = args.b.scale_per_row;
  s.bias = args.bias ? args.bias + n0 : nullptr;
  return s;
}

}  // namespace octavo
