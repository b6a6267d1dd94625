// SPDX-License-Identifier: Apache-2.0
// C = alpha * scale_a * scale_b * A·B + bias (+ C), accumulated in FP32 whatever the formats; an activation,
// a residual, the largest magnitude and codes instead of C on top.
//
// Training needs three layouts, named here by which dimension of the stored matrix is contiguous:
//   fprop  Y[m,n]  = X[m,k]  · W[n,k]^T   both operands k-contiguous                 ("tn")
//   dgrad  dX[m,n] = dY[m,k] · W[k,n]     A k-contiguous, B n-contiguous             ("nn")
//   wgrad  dW[m,n] = dY[k,m]^T · X[k,n]   A m-contiguous, B n-contiguous             ("nt")
// FP8 operands are widened exactly to BF16 (FP32 on AVX2); products of FP8 or BF16 values are exact in FP32,
// so the only rounding is that of the FP32 sums. The BF16 units (VDPBF16PS, AMX) take subnormal operands and
// results as zero.
//
// Each element of C is summed in an order that depends on k alone: same bits for any number of threads and
// any position in a larger problem. There are two such orders in the AVX-512 and AMX variants: one for m <=
// 16 with a k-contiguous B (generation, where B is streamed and not packed), one for all other problems and
// for those that ask for it (`one_order`).
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "octavo/base/arena.h"
#include "octavo/base/cpu.h"
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/activation.h"
#include "octavo/kernels/quantize.h"
#include "octavo/numerics/format.h"

namespace octavo {

/// One operand. `k_contiguous`: stored [m,k] (A) or [n,k] (B), else [k,m] or [k,n]; `stride` in elements
/// between stored rows.
struct GemmOperand {
  const void* data = nullptr;
  Format format = Format::fp32;  ///< fp32, bf16 or an 8-bit format; both operands fp32, or neither
  int64_t stride = 0;
  bool k_contiguous = true;
  const float* scale = nullptr;  ///< nullptr: 1. One factor, or (scale_per_row) one for each m (A) or n (B)
  bool scale_per_row = false;
};

/// An FP16 accumulator, emulated (gemm_fp16.cc): products are added 16 at a time in FP32, along k, and after
/// each 16 the sum so far is rounded to the numbers of FP16, beyond 65504 to infinity. Same bits in every
/// instruction set and for any team.
enum class Fp16Sums {
  none,
  values,  ///< of the products times alpha and both scales
  codes,   ///< of the products of the codes as they are; alpha and the scales follow with the epilogue
};

struct GemmArgs {
  int64_t m = 0, n = 0, k = 0;
  GemmOperand a, b;
  void* c = nullptr;  ///< [m,n]
  /// fp32 or bf16; bf16 is rounded once, to nearest even, after the epilogue.
  Format c_format = Format::fp32;
  int64_t c_stride = 0;
  float alpha = 1.0f;
  const float* bias = nullptr;          ///< [n] or none
  bool accumulate = false;              ///< add to what c holds
  Fp16Sums fp16_sums = Fp16Sums::none;  ///< otherwise no variant is chosen, and packed_b is ignored
  /// The result is rounded to the numbers of FP16 after the bias, beyond 65504 to infinity. c keeps its
  /// format.
  bool round_to_fp16 = false;
  /// Sum in the order of larger problems even if m <= 16: then no row's bits depend on how many there are.
  bool one_order = false;
  /// What gemm_pack_b() made of this b, or none. Same bits, no packing. Ignored for m <= 16 with k-contiguous
  /// b, unless one_order.
  const void* packed_b = nullptr;

  /// What else happens to a block of C while it is in the cache, in this order, after the bias and before
  /// `accumulate`. Costs a block of FP32 for each thread.
  std::optional<Activation> activation{};
  ConstMatrix residual{};  ///< [m,n] fp32 or bf16, added; or none
  float* amax = nullptr;   ///< max |c| as stored (of what the codes stand for), or none; NaN propagates
  CodesOut codes{};  ///< [m,n]: codes instead of c, which is then unused, by a scale known beforehand. With
                     ///< one scale a tensor both following products read them in either direction.
};

/// Bytes of workspace gemm() takes for this problem with this team: for each thread a block of sums and a
/// block of the operand it owns a part of (over all of k if that is below 16 MiB), and for the team the other
/// operand packed, if that is below 32 MiB. A problem of m <= 16 rows with k-contiguous B, unless one_order:
/// about m * k packed elements.
size_t gemm_workspace(const GemmArgs& args, int threads);

/// Runs the first variant that accepts the CPU (capped by max_isa()) and the problem. `workspace` holds at
/// least gemm_workspace() free bytes; what is taken is released before return. Epilogue, each step rounded to
/// FP32: x = sum * ((alpha * scale_a) * scale_b); x = x + bias; (to FP16;) x = act(x); x = x + residual; x =
/// c + x. A workspace in planning mode only records what would be taken. Formats no kernel reads: throws
/// unsupported.
void gemm(const GemmArgs& args, ThreadPool& pool, Workspace& workspace);

/// Packs b beforehand, for weights that several products read: the micro-batches of a step, the batches of an
/// inference. Of `args` b, n, k and the formats count. Bytes of `out`: 2 an element for FP8 and BF16, 4 for
/// FP32, with n and k rounded up to the kernel's tiles; 0 where the variant reads b as it lies. What is
/// packed serves only while max_isa() stays.
size_t gemm_packed_bytes(const GemmArgs& args);
void gemm_pack_b(const GemmArgs& args, void* out, ThreadPool& pool);

/// The name of the variant gemm() would run, and for each better one why it was refused ("avx512bf16: this
/// CPU has no AVX512_BF16"). With fp16_sums: "fp16".
struct GemmChoice {
  std::string variant;
  std::vector<std::string> refused;
};
GemmChoice gemm_choice(const GemmArgs& args);

/// Names of all compiled variants this CPU can run, best first ("ref" is the last). Tests run each by name.
std::vector<std::string> gemm_variants();
/// As gemm(), with the named variant. Throws unsupported when it refuses the problem.
void gemm_with(const std::string& variant, const GemmArgs& args, ThreadPool& pool, Workspace& workspace);
size_t gemm_workspace_with(const std::string& variant, const GemmArgs& args, int threads);

}  // namespace octavo
