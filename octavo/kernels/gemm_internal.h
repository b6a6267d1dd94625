// SPDX-License-Identifier: Apache-2.0
// Between the dispatch (gemm.cc), the blocked driver and the reference.
#pragma once
#include <cstddef>

#include "octavo/kernels/gemm.h"
#include "octavo/kernels/gemm_variant.h"

namespace octavo {

/// The tables of an 8-bit format; built on first use.
const GemmDecode& gemm_decode(Format format);

size_t gemm_blocked_workspace(const GemmKernel& kernel, const GemmArgs& args, int threads);
void gemm_blocked(const GemmKernel& kernel, const GemmArgs& args, ThreadPool& pool, Workspace& workspace);

/// Plain loops. Each dot product is summed in double (products of FP8 and BF16 are exact there, those of FP32
/// too), so its error against the exact sum is below k * 2^-53 * sum|a*b|; it is then rounded to FP32 and
/// follows the same epilogue as the other variants. A variant that sums in FP32 may differ by about k * 2^-24
/// * sum|a*b| at worst, and by the square root of k instead of k as a rule.
void gemm_ref(const GemmArgs& args, ThreadPool& pool);

}  // namespace octavo
