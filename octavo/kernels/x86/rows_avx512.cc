// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/row_kernels.h"
#include "octavo/kernels/x86/simd_avx512.h"

namespace octavo::avx512 {
namespace {
#include "octavo/kernels/x86/rows-inl.h"

#include "octavo/kernels/x86/rows_fp16_to_e4m3_avx512.h"
#include "octavo/kernels/x86/rows_quantize_bf16_avx512.h"

constexpr RowKernels with_words(RowKernels kernels) {
  kernels.quantize = [](const QuantizeRow& row, const CodeGrid& grid) {
    return quantizes_bf16(row, grid) ? quantize_bf16(row, grid) : quantize(row, grid);
  };
  kernels.fp16_to_e4m3 = fp16_to_e4m3;
  return kernels;
}
}  // namespace

extern const RowKernels kRowKernels;
constinit const RowKernels kRowKernels = with_words(row_kernels("avx512"));

}  // namespace octavo::avx512
