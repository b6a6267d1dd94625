// SPDX-License-Identifier: Apache-2.0
// FP8 and BF16 operands through VDPBF16PS. The instruction rounds each sum to nearest even and takes
// subnormal BF16 operands and subnormal results as zero; no FP8 value is subnormal in BF16.
#include "octavo/kernels/x86/gemm_dot_avx512.h"
#include "octavo/kernels/x86/gemm_read_bf16.h"

namespace octavo {
namespace {

constexpr int64_t kUnit = 32;

int64_t words_of(int64_t k) { return (k + kUnit - 1) / kUnit * (kUnit / 2); }

void pack_a(const GemmPack& g) {
  const int64_t words = words_of(g.k);
  pack_a_bf16(g, 6, words, words, 16);
}
void pack_b(const GemmPack& g) { pack_b_bf16(g, 64, words_of(g.k)); }

struct Dot {
  static __m512 run(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
};

}  // namespace

void gemm_pack_rows_avx512bf16(const GemmPack& g) {
  const int64_t words = dot_words(g.k, 2);
  pack_a_bf16(g, 1, words, words, 16);
}

void gemm_dot_avx512bf16(const GemmDot& g) {
  if (g.element == GemmElement::fp8)
    dot_with<Dot>(g, Fp8Reader(*g.decode));
  else
    dot_with<Dot>(g, Bf16Reader{});
}

const GemmKernel kGemmAvx512Bf16 = {.mr = 6,
                                    .nr = 64,
                                    .k_unit = kUnit,
                                    .mc = 192,
                                    .nc = 512,
                                    .kc = 2048,
                                    .packed_bytes = 2,
                                    .keep_bytes = int64_t{16} << 20,
                                    .pack_a = pack_a,
                                    .pack_b = pack_b,
                                    .multiply = multiply_block<Dot, 2>,
                                    .store = store_block,
                                    .store_in_multiply = true,
                                    .enter = nullptr,
                                    .leave = nullptr,
                                    .pack_rows = gemm_pack_rows_avx512bf16,
                                    .dot = gemm_dot_avx512bf16};

}  // namespace octavo
