// SPDX-License-Identifier: Apache-2.0
// Between the dispatch (gemm.cc), the blocked driver and the reference.
#pragma once
#include <cstddef>

#include "octavo/kernels/gemm.h"
#include "octavo/kernels/gemm_variant.h"
#include "octavo/kernels/rows.h"

namespace octavo {

/// The tables of an 8-bit format; built on first use.
const GemmDecode& gemm_decode(Format format);

/// The part of an operand that starts at (row, k0); its size and where to pack it are left to the caller.
GemmPack gemm_block_of(const GemmOperand& operand, int64_t row, int64_t k0);
/// The epilogue for m x n sums that belong at (m0, n0) of C.
GemmStore gemm_store_of(const GemmArgs& args, const float* sum, int64_t sum_stride, int64_t m0, int64_t m,
                        int64_t n0, int64_t n);

/// The part of the epilogue that kernels leave to the element-wise ones: rounding to FP16, activation,
/// residual, amax, codes.
class GemmFinish {
 public:
  explicit GemmFinish(const GemmArgs& args);
  /// Whether there is any; else kernels store C themselves.
  static bool wanted(const GemmArgs& args);
  /// The epilogue a kernel does before block(): scale and bias, into `block` instead of C.
  static GemmStore to_block(GemmStore store, float* block, int64_t stride);
  /// m x n values that belong at (m0, n0) of C. They are overwritten. From any thread.
  void block(float* values, int64_t stride, int64_t m0, int64_t m, int64_t n0, int64_t n);
  /// Reports the amax, once all blocks are done.
  void report() const;

 private:
  const GemmArgs& args_;
  const RowKernels& kernels_;
  RowEncoder encoder_;
  SharedAmax largest_;
};

/// Whether the problem is of the kind that gemm_skinny() does and `kernel` has the parts for it.
bool gemm_skinny_takes(const GemmKernel& kernel, const GemmArgs& args);
size_t gemm_skinny_workspace(const GemmKernel& kernel, const GemmArgs& args, int threads);
void gemm_skinny(const GemmKernel& kernel, const GemmArgs& args, ThreadPool& pool, Workspace& workspace);

size_t gemm_blocked_workspace(const GemmKernel& kernel, const GemmArgs& args, int threads);
void gemm_blocked(const GemmKernel& kernel, const GemmArgs& args, ThreadPool& pool, Workspace& workspace);
size_t gemm_blocked_packed_bytes(const GemmKernel& kernel, const GemmArgs& args);
void gemm_blocked_pack_b(const GemmKernel& kernel, const GemmArgs& args, void* out, ThreadPool& pool);

/// Fp16Sums, whatever the formats.
size_t gemm_fp16_workspace(int threads);
void gemm_fp16(const GemmArgs& args, ThreadPool& pool, Workspace& workspace);

/// Plain loops. Each dot product is summed in double (products of FP8 and BF16 are exact there, those of FP32
/// too), so its error against the exact sum is below k * 2^-53 * sum|a*b|; it is then rounded to FP32 and
/// follows the same epilogue as the other variants. A variant that sums in FP32 may differ by about k * 2^-24
/// * sum|a*b| at worst, and by the square root of k instead of k as a rule.
void gemm_ref(const GemmArgs& args, ThreadPool& pool);

}  // namespace octavo
