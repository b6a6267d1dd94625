// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/row_kernels.h"
#include "octavo/kernels/x86/simd_avx2.h"

namespace octavo::avx2 {
namespace {
#include "octavo/kernels/x86/rows-inl.h"
}  // namespace

extern const RowKernels kRowKernels;
constinit const RowKernels kRowKernels = row_kernels("avx2");

}  // namespace octavo::avx2
