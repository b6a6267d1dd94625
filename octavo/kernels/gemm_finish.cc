// SPDX-License-Identifier: Apache-2.0
// One implementation for all variants: a block of FP32 results is still in L2 when the element-wise kernels
// go over its rows.
#include "octavo/kernels/gemm_internal.h"

namespace octavo {

GemmFinish::GemmFinish(const GemmArgs& args) : args_(args), kernels_(row_kernels()), encoder_(args.codes) {}

bool GemmFinish::wanted(const GemmArgs& args) {
  return args.round_to_fp16 || args.activation || args.residual.data || args.amax || args.codes.codes.data;
}

GemmStore GemmFinish::to_block(GemmStore store, float* block, int64_t stride) {
  store.c = block;
  store.c_stride = stride;
  store.c_is_bf16 = store.accumulate = false;
  return store;
}

void GemmFinish::block(float* values, int64_t stride, int64_t m0, int64_t m, int64_t n0, int64_t n) {
  const Matrix c{args_.c, args_.c_format, args_.m, args_.n, args_.c_stride};
  uint32_t largest = 0;
  for (int64_t r = 0; r < m; ++r) {
    const Row row{values + r * stride, false};
    const ConstRow x{row.data, false};
    if (args_.round_to_fp16) kernels_.round_fp16(values + r * stride, n);
    if (args_.activation)
      kernels_.activation_forward({.kind = static_cast<int>(*args_.activation), .cols = n, .x = x, .y = row});
    if (args_.residual.data) kernels_.add(x, row_at(args_.residual, m0 + r, n0), row, n);
    if (args_.codes.codes.data) {
      largest = std::max(largest, encoder_.encode(x, m0 + r, n0, n));
      continue;
    }
    const Row to = row_at(c, m0 + r, n0);
    if (args_.accumulate) kernels_.add({to.data, to.bf16}, x, row, n);
    kernels_.convert(x, to, n);
    if (args_.amax) largest = std::max(largest, kernels_.amax({to.data, to.bf16}, n));
  }
  largest_.raise(largest);
}

void GemmFinish::report() const {
  if (args_.amax) *args_.amax = largest_.value();
}

}  // namespace octavo
