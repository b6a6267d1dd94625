// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/row_kernels.h"
#include "octavo/kernels/x86/simd_avx512.h"

namespace octavo::avx512 {
namespace {
#include "octavo/kernels/x86/rows-inl.h"
}  // namespace

extern const RowKernels kRowKernels;
constinit const RowKernels kRowKernels = row_kernels("avx512");

}  // namespace octavo::avx512
