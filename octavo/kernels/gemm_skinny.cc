// SPDX-License-Identifier: Apache-2.0
// Generation: so few rows of A that reading B is all the work. B is not packed; see GemmDot.
#include <algorithm>

#include "octavo/kernels/gemm_internal.h"

namespace octavo {
namespace {

/// Columns of C whose sums wait for the epilogue together.
constexpr int64_t kColumns = 64;
constexpr int64_t kSums = kGemmSkinnyRows * kColumns;
/// Of one thread: the sums, and the values that element-wise kernels finish.
constexpr size_t kThreadBytes = 2 * static_cast<size_t>(kSums) * sizeof(float);

size_t packed_row_bytes(const GemmKernel& kernel, const GemmArgs& args) {
  return static_cast<size_t>((args.k + kDotUnit - 1) / kDotUnit * kDotUnit * kernel.packed_bytes);
}

}  // namespace

bool gemm_skinny_takes(const GemmKernel& kernel, const GemmArgs& args) {
  return kernel.dot && !args.one_order && args.m <= kGemmSkinnyRows && args.b.k_contiguous;
}

size_t gemm_skinny_workspace(const GemmKernel& kernel, const GemmArgs& args, int threads) {
  return static_cast<size_t>(args.m) * packed_row_bytes(kernel, args) +
         static_cast<size_t>(threads) * kThreadBytes;
}

void gemm_skinny(const GemmKernel& kernel, const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  WorkspaceScope scope(workspace);
  char* const x = workspace.take<char>(gemm_skinny_workspace(kernel, args, pool.size()));
  if (workspace.planning()) return;
  char* const sums = x + static_cast<size_t>(args.m) * packed_row_bytes(kernel, args);
  GemmPack pack = gemm_block_of(args.a, 0, 0);
  pack.rows = args.m;
  pack.k = args.k;
  pack.out = x;
  kernel.pack_rows(pack);
  const int64_t blocks = (args.n + kColumns - 1) / kColumns;
  GemmFinish finish(args);
  const bool wanted = GemmFinish::wanted(args);
  pool.run([&](int thread) {
    float* const sum = reinterpret_cast<float*>(sums + static_cast<size_t>(thread) * kThreadBytes);
    float* const finished = sum + kSums;
    const int64_t end = std::min(args.n, blocks * (thread + 1) / pool.size() * kColumns);
    for (int64_t n0 = blocks * thread / pool.size() * kColumns; n0 < end; n0 += kColumns) {
      const int64_t n = std::min(kColumns, end - n0);
      const GemmPack b = gemm_block_of(args.b, n0, 0);
      kernel.dot({x, b.data, b.stride, b.element, b.decode, args.m, n, args.k, sum, kColumns});
      const GemmStore store = gemm_store_of(args, sum, kColumns, 0, args.m, n0, n);
      kernel.store(wanted ? GemmFinish::to_block(store, finished, kColumns) : store);
      if (wanted) finish.block(finished, kColumns, 0, args.m, n0, n);
    }
  });
  finish.report();
}

}  // namespace octavo
