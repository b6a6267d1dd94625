// SPDX-License-Identifier: Apache-2.0
// The loops around the packed kernels. Each thread owns a slice of C and packs for itself what it reads: a
// copy shared by the team would be read from another core's cache, which costs more than packing twice.
//
// For each nc columns of the slice, for each mc rows, over k in steps of kc: pack, multiply into an FP32
// block of sums, and after the last step apply the epilogue to it. The packed columns of B are kept for all
// blocks of rows when they fit. The sums are in whole tiles, so no kernel has an edge case, and nothing but k
// decides the order of a sum.
#include <algorithm>

#include "octavo/kernels/gemm_internal.h"

namespace octavo {
namespace {

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

/// Which part of C a thread computes.
struct Slice {
  int64_t m0, m1, n0, n1;
};

Slice slice_of(const GemmKernel& kernel, const GemmArgs& args, int thread, int threads) {
  const bool along_n = args.n >= args.m;
  const int64_t size = along_n ? args.n : args.m;
  const int64_t tile = along_n ? kernel.nr : kernel.mr;
  const int64_t tiles = (size + tile - 1) / tile;
  const int64_t begin = std::min(size, tiles * thread / threads * tile);
  const int64_t end = std::min(size, tiles * (thread + 1) / threads * tile);
  return along_n ? Slice{0, args.m, begin, end} : Slice{begin, end, 0, args.n};
}

/// Rows up to which a slice counts as skinny, as in generation.
constexpr int64_t kSkinny = 32;

/// Block sizes and buffers of one thread.
struct Plan {
  int64_t mc, nc, kc;
  bool keep_b;
  int64_t sum_stride;
  size_t a_bytes, b_bytes, sum_bytes;

  Plan(const GemmKernel& kernel, const GemmArgs& args, const Slice& s) {
    const int64_t padded_k = round_up(args.k, kernel.k_unit);
    mc = kernel.mc;
    nc = kernel.nc;
    kc = kernel.kc;
    if (s.m1 - s.m0 <= kSkinny) {
      // Bound by reading B, so the block is long where B is contiguous. The sums do not notice: between
      // blocks they are kept in FP32.
      kc = args.b.k_contiguous ? 4096 : 64;
      nc = args.b.k_contiguous ? 64 : 4096;
    }
    mc = std::min(mc, round_up(s.m1 - s.m0, kernel.mr));
    nc = std::min(nc, round_up(s.n1 - s.n0, kernel.nr));
    kc = std::min(kc, padded_k);
    keep_b = s.m1 - s.m0 > mc && padded_k * nc * kernel.packed_bytes <= kernel.keep_b_bytes;
    // Rows a power of two apart would all fall into the same few cache sets.
    sum_stride = nc + 16;
    a_bytes = bytes64(mc * kc * kernel.packed_bytes);
    b_bytes = bytes64((keep_b ? padded_k : kc) * nc * kernel.packed_bytes);
    sum_bytes = bytes64(mc * sum_stride * 4);
  }
  size_t total() const { return a_bytes + b_bytes + sum_bytes; }
  static size_t bytes64(int64_t n) { return static_cast<size_t>(round_up(n, 64)); }
};

const float* from_row(const GemmOperand& operand, int64_t row) {
  return operand.scale && operand.scale_per_row ? operand.scale + row : operand.scale;
}

/// The block of `rows` x `k` elements at (row, k0), to be packed to `out`.
GemmPack block_of(const GemmOperand& operand, int64_t row, int64_t rows, int64_t k0, int64_t k, void* out) {
  const int64_t at = operand.k_contiguous ? row * operand.stride + k0 : k0 * operand.stride + row;
  GemmPack p;
  p.data = static_cast<const char*>(operand.data) + at * bytes(operand.format);
  p.stride = operand.stride;
  p.k_contiguous = operand.k_contiguous;
  p.element = operand.format == Format::fp32   ? GemmElement::fp32
              : operand.format == Format::bf16 ? GemmElement::bf16
                                               : GemmElement::fp8;
  if (p.element == GemmElement::fp8) p.decode = &gemm_decode(operand.format);
  p.rows = rows;
  p.k = k;
  p.out = out;
  return p;
}

void store_block(const GemmKernel& kernel, const GemmArgs& args, const float* sum, int64_t sum_stride,
                 int64_t m0, int64_t m, int64_t n0, int64_t n) {
  GemmStore s;
  s.sum = sum;
  s.sum_stride = sum_stride;
  s.m = m;
  s.n = n;
  s.c = static_cast<char*>(args.c) + (m0 * args.c_stride + n0) * bytes(args.c_format);
  s.c_stride = args.c_stride;
  s.c_is_bf16 = args.c_format == Format::bf16;
  s.accumulate = args.accumulate;
  s.alpha = args.alpha;
  s.scale_a = from_row(args.a, m0);
  s.scale_b = from_row(args.b, n0);
  s.scale_a_per_row = args.a.scale_per_row;
  s.scale_b_per_row = args.b.scale_per_row;
  s.bias = args.bias ? args.bias + n0 : nullptr;
  kernel.store(s);
}

void run_slice(const GemmKernel& kernel, const GemmArgs& args, const Slice& s, char* memory) {
  if (s.m0 >= s.m1 || s.n0 >= s.n1) return;
  const Plan plan(kernel, args, s);
  char* const packed_a = memory;
  char* const packed_b = packed_a + plan.a_bytes;
  float* const sum = reinterpret_cast<float*>(packed_b + plan.b_bytes);
  for (int64_t n0 = s.n0; n0 < s.n1; n0 += plan.nc) {
    const int64_t n = std::min(plan.nc, s.n1 - n0);
    const int64_t padded_n = round_up(n, kernel.nr);
    for (int64_t m0 = s.m0; m0 < s.m1; m0 += plan.mc) {
      const int64_t m = std::min(plan.mc, s.m1 - m0);
      if (args.k == 0) std::fill_n(sum, m * plan.sum_stride, 0.0f);
      for (int64_t k0 = 0; k0 < args.k; k0 += plan.kc) {
        const int64_t k = std::min(plan.kc, args.k - k0);
        char* const b = packed_b + (plan.keep_b ? k0 * padded_n * kernel.packed_bytes : 0);
        if (!plan.keep_b || m0 == s.m0) kernel.pack_b(block_of(args.b, n0, n, k0, k, b));
        kernel.pack_a(block_of(args.a, m0, m, k0, k, packed_a));
        kernel.multiply({packed_a, b, sum, plan.sum_stride, m, n, round_up(k, kernel.k_unit), k0 == 0});
      }
      store_block(kernel, args, sum, plan.sum_stride, m0, m, n0, n);
    }
  }
}

/// Bytes one thread needs: the largest of the slices.
size_t bytes_per_thread(const GemmKernel& kernel, const GemmArgs& args, int threads) {
  size_t most = 0;
  for (int t = 0; t < threads; ++t)
    most = std::max(most, Plan(kernel, args, slice_of(kernel, args, t, threads)).total());
  return most;
}

}  // namespace

size_t gemm_blocked_workspace(const GemmKernel& kernel, const GemmArgs& args, int threads) {
  return bytes_per_thread(kernel, args, threads) * static_cast<size_t>(threads);
}

void gemm_blocked(const GemmKernel& kernel, const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  WorkspaceScope scope(workspace);
  const int threads = pool.size();
  const size_t each = bytes_per_thread(kernel, args, threads);
  char* const memory = workspace.take<char>(each * static_cast<size_t>(threads));
  if (workspace.planning()) return;
  pool.run([&](int thread) {
    if (kernel.enter) kernel.enter();
    run_slice(kernel, args, slice_of(kernel, args, thread, threads),
              memory + each * static_cast<size_t>(thread));
    if (kernel.leave) kernel.leave();
  });
}

}  // namespace octavo
