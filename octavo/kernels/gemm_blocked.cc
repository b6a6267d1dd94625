// SPDX-License-Identifier: Apache-2.0
// The loops around the packed kernels. C is cut along its longer side, one slice a thread, so one operand is
// common to the team (the inner one) and each thread owns its part of the other (the outer one). The inner
// operand is packed once, by all threads together; the outer one block by block, each by its owner, so that
// it is still in the cache when it is multiplied.
//
// For each outer block, for each inner block, over k in steps of kc: multiply into an FP32 block of sums, and
// with the last step apply the epilogue to it. The sums are in whole tiles, so no kernel has an edge case,
// and nothing but k decides the order of a sum.
#include <algorithm>

#include "octavo/kernels/gemm_internal.h"

namespace octavo {
namespace {

int64_t round_up(int64_t n, int64_t to) { return (n + to - 1) / to * to; }
size_t bytes64(int64_t n) { return static_cast<size_t>(round_up(n, 64)); }

/// One operand seen from one thread: which of its rows (of m or n) take part, and how they are packed.
struct Side {
  const GemmOperand* operand;
  void (*pack)(const GemmPack&);
  int64_t unit;        // rows of a panel
  int64_t begin, end;  // rows
  int64_t block;       // rows of a block
  const char* packed;  // all of it, packed beforehand, or null

  int64_t rows_at(int64_t row) const { return std::min(block, end - row); }
};

/// Rows of A up to which the problem counts as skinny.
constexpr int64_t kSkinny = 32;
/// The inner operand is packed as a whole when it takes no more than this, else again for each outer block.
constexpr int64_t kShareBytes = int64_t{32} << 20;

/// Rows of a block, a multiple of every panel, where neither operand is packed once and for all: with a
/// vocabulary as k this took the gradient of the head's input from 81 to 86 % of the peak.
constexpr int64_t kLongBlock = 1152;

/// What one thread does, and the sizes of its buffers. All threads have the same k blocks and the same inner
/// operand.
struct Plan {
  const GemmKernel& kernel;
  const GemmArgs& args;
  bool along_n;
  Side a, b;
  int64_t padded_k, kc;
  bool share_inner, keep_outer;
  size_t shared_bytes, outer_bytes, inner_bytes, sum_bytes, finish_bytes;
  int64_t sum_stride;

  const Side& outer() const { return along_n ? b : a; }
  const Side& inner() const { return along_n ? a : b; }

  Plan(const GemmKernel& k, const GemmArgs& g, int thread, int threads)
      : kernel(k),
        args(g),
        along_n(g.n >= g.m),
        a{&g.a, k.pack_a, k.mr, 0, g.m, k.mc, nullptr},
        b{&g.b, k.pack_b, k.nr, 0, g.n, k.nc, static_cast<const char*>(g.packed_b)} {
    cut(along_n ? b : a, thread, threads);
    padded_k = round_up(g.k, k.k_unit);
    kc = k.kc;
    if (g.m <= kSkinny && !b.packed) {
      // Bound by reading B, so the block is long where B is contiguous. The sums do not notice: between
      // blocks they are kept in FP32.
      kc = g.b.k_contiguous ? 4096 : 64;
      b.block = g.b.k_contiguous ? 64 : 4096;
    }
    const int64_t k_blocks = std::max<int64_t>(1, (padded_k + kc - 1) / kc);
    kc = std::max(k.k_unit, round_up((padded_k + k_blocks - 1) / k_blocks, k.k_unit));
    for (Side* s : {&a, &b})
      s->block = std::max(s->unit, std::min(s->block, round_up(s->end - s->begin, s->unit)));

    const int64_t inner_rows = round_up(inner().end, inner().unit);
    const int64_t inner_whole = inner_rows * padded_k * k.packed_bytes;
    share_inner = !inner().packed && inner_whole <= kShareBytes;
    if (!share_inner && !b.packed && g.m > kSkinny) {
      // So long a k that both operands are packed again for each block of the other: fewer and larger blocks.
      for (Side* s : {&a, &b})
        s->block = std::max(s->block, std::min(kLongBlock, round_up(s->end - s->begin, s->unit)));
    }
    shared_bytes = share_inner ? bytes64(inner_whole) : 0;
    inner_bytes = share_inner || inner().packed ? 0 : bytes64(inner().block * kc * k.packed_bytes);
    const int64_t outer_whole = outer().block * padded_k * k.packed_bytes;
    keep_outer = inner_rows > inner().block && outer_whole <= k.keep_bytes;
    outer_bytes =
        outer().packed ? 0 : bytes64(keep_outer ? outer_whole : outer().block * kc * k.packed_bytes);
    // Rows a power of two apart would all fall into the same few cache sets.
    sum_stride = b.block + 16;
    sum_bytes = bytes64(a.block * sum_stride * 4);
    finish_bytes = GemmFinish::wanted(g) ? sum_bytes : 0;
  }
  size_t own_bytes() const { return outer_bytes + inner_bytes + sum_bytes + finish_bytes; }

  static void cut(Side& s, int thread, int threads) {
    const int64_t size = s.end, tiles = (size + s.unit - 1) / s.unit;
    s.begin = std::min(size, tiles * thread / threads * s.unit);
    s.end = std::min(size, tiles * (thread + 1) / threads * s.unit);
  }
  /// Bytes before a block in a buffer that holds blocks of rows, in each all blocks of k; `row` counts from
  /// the start of the buffer.
  int64_t offset(const Side& s, int64_t row, int64_t rows, int64_t k0) const {
    return (row * padded_k + k0 * round_up(rows, s.unit)) * kernel.packed_bytes;
  }
  /// The block at (row, k0) of a side packed beforehand: there all rows of a block of k lie together, so that
  /// any cut into blocks of rows finds its own.
  const char* packed_at(const Side& s, int64_t row, int64_t k0) const {
    const int64_t rows = round_up(s.operand == &args.a ? args.m : args.n, s.unit);
    const int64_t k = round_up(std::min(kc, args.k - k0), kernel.k_unit);
    return s.packed + (k0 * rows + row * k) * kernel.packed_bytes;
  }
};

/// Packs the block at (row, k0) to `out`.
void pack_block(const Plan& plan, const Side& side, int64_t row, int64_t k0, void* out) {
  GemmPack p = gemm_block_of(*side.operand, row, k0);
  p.rows = side.rows_at(row);
  p.k = std::min(plan.kc, plan.args.k - k0);
  p.out = out;
  side.pack(p);
}

/// Packs this thread's share of the blocks of the inner operand.
void pack_shared(const Plan& plan, int thread, int threads, char* shared) {
  const Side& s = plan.inner();
  const int64_t k_blocks = (plan.args.k + plan.kc - 1) / plan.kc;
  const int64_t count = (s.end + s.block - 1) / s.block * k_blocks;
  for (int64_t i = count * thread / threads; i < count * (thread + 1) / threads; ++i) {
    const int64_t row = i / k_blocks * s.block, k0 = i % k_blocks * plan.kc;
    pack_block(plan, s, row, k0, shared + plan.offset(s, row, s.rows_at(row), k0));
  }
}

/// One block of C. `shared`: the inner operand, if packed; `pack_outer`: unless the kept copy is there.
void run_block(const Plan& plan, int64_t outer0, int64_t inner0, char* shared, char* memory, bool pack_outer,
               GemmFinish* finish) {
  const GemmKernel& kernel = plan.kernel;
  const GemmArgs& args = plan.args;
  const int64_t m0 = plan.along_n ? inner0 : outer0, n0 = plan.along_n ? outer0 : inner0;
  const int64_t m = plan.a.rows_at(m0), n = plan.b.rows_at(n0);
  char* const own_inner = memory + plan.outer_bytes;
  float* const sum = reinterpret_cast<float*>(own_inner + plan.inner_bytes);
  float* const finished = reinterpret_cast<float*>(own_inner + plan.inner_bytes + plan.sum_bytes);
  GemmStore store = gemm_store_of(args, sum, plan.sum_stride, m0, m, n0, n);
  if (finish) store = GemmFinish::to_block(store, finished, plan.sum_stride);
  for (int64_t k0 = 0; k0 < args.k; k0 += plan.kc) {
    const int64_t k = std::min(plan.kc, args.k - k0);
    const char* outer = plan.outer().packed ? plan.packed_at(plan.outer(), outer0, k0) : nullptr;
    if (!outer) {
      char* const own =
          memory + (plan.keep_outer ? plan.offset(plan.outer(), 0, plan.outer().rows_at(outer0), k0) : 0);
      if (pack_outer || !plan.keep_outer) pack_block(plan, plan.outer(), outer0, k0, own);
      outer = own;
    }
    const char* inner = own_inner;
    if (plan.inner().packed)
      inner = plan.packed_at(plan.inner(), inner0, k0);
    else if (plan.share_inner)
      inner = shared + plan.offset(plan.inner(), inner0, plan.inner().rows_at(inner0), k0);
    else
      pack_block(plan, plan.inner(), inner0, k0, own_inner);
    const bool fused = kernel.store_in_multiply && k0 + k == args.k;
    kernel.multiply({plan.along_n ? inner : outer, plan.along_n ? outer : inner, sum, plan.sum_stride, m, n,
                     round_up(k, kernel.k_unit), k0 == 0, fused ? &store : nullptr});
  }
  if (args.k == 0) std::fill_n(sum, m * plan.sum_stride, 0.0f);
  if (args.k == 0 || !kernel.store_in_multiply) kernel.store(store);
  if (finish) finish->block(finished, plan.sum_stride, m0, m, n0, n);
}

void run_slice(const Plan& plan, char* shared, char* memory, GemmFinish* finish) {
  const Side &outer = plan.outer(), &inner = plan.inner();
  for (int64_t o = outer.begin; o < outer.end; o += outer.block)
    for (int64_t i = 0; i < inner.end; i += inner.block)
      run_block(plan, o, i, shared, memory, i == 0, finish);
}

/// Bytes one thread needs for itself: the most of all slices.
size_t own_bytes(const GemmKernel& kernel, const GemmArgs& args, int threads) {
  size_t most = 0;
  for (int t = 0; t < threads; ++t) most = std::max(most, Plan(kernel, args, t, threads).own_bytes());
  return most;
}

}  // namespace

size_t gemm_blocked_workspace(const GemmKernel& kernel, const GemmArgs& args, int threads) {
  return own_bytes(kernel, args, threads) * static_cast<size_t>(threads) +
         Plan(kernel, args, 0, threads).shared_bytes;
}

void gemm_blocked(const GemmKernel& kernel, const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  WorkspaceScope scope(workspace);
  const int threads = pool.size();
  const size_t each = own_bytes(kernel, args, threads);
  char* const memory = workspace.take<char>(gemm_blocked_workspace(kernel, args, threads));
  if (workspace.planning()) return;
  char* const shared = memory + each * static_cast<size_t>(threads);
  if (Plan(kernel, args, 0, threads).share_inner)
    pool.run([&](int thread) { pack_shared(Plan(kernel, args, thread, threads), thread, threads, shared); });
  GemmFinish finish(args);
  const bool wanted = GemmFinish::wanted(args);
  pool.run([&](int thread) {
    if (kernel.enter) kernel.enter();
    run_slice(Plan(kernel, args, thread, threads), shared, memory + each * static_cast<size_t>(thread),
              wanted ? &finish : nullptr);
    if (kernel.leave) kernel.leave();
  });
  finish.report();
}

size_t gemm_blocked_packed_bytes(const GemmKernel& kernel, const GemmArgs& args) {
  return bytes64(round_up(args.n, kernel.nr) * round_up(args.k, kernel.k_unit) * kernel.packed_bytes);
}

void gemm_blocked_pack_b(const GemmKernel& kernel, const GemmArgs& args, void* out, ThreadPool& pool) {
  GemmArgs whole = args;
  whole.m = kSkinny + 1;  // the blocks of k of any problem that reads it
  whole.packed_b = out;
  const Plan plan(kernel, whole, 0, 1);
  pool.parallel_for(args.n, kernel.nr, [&](int64_t begin, int64_t end) {
    for (int64_t k0 = 0; k0 < args.k; k0 += plan.kc) {
      GemmPack p = gemm_block_of(args.b, begin, k0);
      p.rows = end - begin;
      p.k = std::min(plan.kc, args.k - k0);
      p.out = const_cast<char*>(plan.packed_at(plan.b, begin, k0));
      kernel.pack_b(p);
    }
  });
}

}  // namespace octavo
