// SPDX-License-Identifier: Apache-2.0
// FP32 FMA on AVX-512. FP8 and BF16 operands are widened to FP32 while packing.
#include "octavo/kernels/x86/gemm_dot_avx512.h"

namespace octavo {
namespace {

constexpr int64_t kUnit = 16;

struct Fp32Reader {
  static constexpr int kPerWord = 1, kBytes = 4, kAlong = 1, kAcross = 1;
  void along(const char* p, int64_t n, __m512i* out) const {
    out[0] = _mm512_maskz_loadu_epi32(static_cast<__mmask16>(lanes(least(n, 16))), p);
  }
  void across(const char* p, const char*, int64_t n, __m512i* out) const {
    out[0] = _mm512_setzero_si512();
    if (p) along(p, n, out);
  }
  void along16(const char* p, int64_t line, int64_t rows, int64_t k, __m512i (*v)[16]) const {
    along16_by_words(*this, p, line, rows, k, v);
  }
};

struct Bf16Widener {
  static constexpr int kPerWord = 1, kBytes = 2, kAlong = 1, kAcross = 1;
  void along(const char* p, int64_t n, __m512i* out) const {
    const __mmask16 mask = static_cast<__mmask16>(lanes(least(n, 16)));
    out[0] = _mm512_castps_si512(widen_bf16(_mm256_maskz_loadu_epi16(mask, p)));
  }
  void across(const char* p, const char*, int64_t n, __m512i* out) const {
    out[0] = _mm512_setzero_si512();
    if (p) along(p, n, out);
  }
  void along16(const char* p, int64_t line, int64_t rows, int64_t k, __m512i (*v)[16]) const {
    along16_by_words(*this, p, line, rows, k, v);
  }
};

struct Fp8Widener {
  static constexpr int kPerWord = 1, kBytes = 1, kAlong = 1, kAcross = 1;
  const float* value;
  void along(const char* p, int64_t n, __m512i* out) const {
    const __mmask16 mask = static_cast<__mmask16>(lanes(least(n, 16)));
    const __m512i codes = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, p));
    out[0] = _mm512_castps_si512(_mm512_i32gather_ps(codes, value, 4));
  }
  void across(const char* p, const char*, int64_t n, __m512i* out) const {
    out[0] = _mm512_setzero_si512();
    if (p) along(p, n, out);
  }
  void along16(const char* p, int64_t line, int64_t rows, int64_t k, __m512i (*v)[16]) const {
    along16_by_words(*this, p, line, rows, k, v);
  }
};

int64_t words_of(int64_t k) { return (k + kUnit - 1) / kUnit * kUnit; }

template <class Reader>
void pack_a_with(const GemmPack& g, const Reader& reader, int64_t panel_rows, int64_t words) {
  if (g.k_contiguous)
    pack_rows(g, reader, panel_rows, words, panel_rows * words, words, 16);
  else
    pack_rows_transposed(g, reader, panel_rows, words, panel_rows * words, words, 16);
}

template <class Reader>
void pack_b_with(const GemmPack& g, const Reader& reader) {
  if (g.k_contiguous)
    pack_columns_transposed(g, reader, 64, words_of(g.k));
  else
    pack_columns(g, reader, 64, words_of(g.k));
}

void pack_panels(const GemmPack& g, int64_t panel_rows, int64_t words) {
  if (g.element == GemmElement::fp32)
    pack_a_with(g, Fp32Reader{}, panel_rows, words);
  else if (g.element == GemmElement::bf16)
    pack_a_with(g, Bf16Widener{}, panel_rows, words);
  else
    pack_a_with(g, Fp8Widener{g.decode->value}, panel_rows, words);
}
void pack_a(const GemmPack& g) { pack_panels(g, 6, words_of(g.k)); }
void pack_dot_rows(const GemmPack& g) { pack_panels(g, 1, dot_words(g.k, 1)); }

void pack_b(const GemmPack& g) {
  if (g.element == GemmElement::fp32)
    pack_b_with(g, Fp32Reader{});
  else if (g.element == GemmElement::bf16)
    pack_b_with(g, Bf16Widener{});
  else
    pack_b_with(g, Fp8Widener{g.decode->value});
}

struct Fma {
  static __m512 run(__m512 sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  }
};

void dot(const GemmDot& g) {
  if (g.element == GemmElement::fp32)
    dot_with<Fma>(g, Fp32Reader{});
  else if (g.element == GemmElement::bf16)
    dot_with<Fma>(g, Bf16Widener{});
  else
    dot_with<Fma>(g, Fp8Widener{g.decode->value});
}

}  // namespace

const GemmKernel kGemmAvx512 = {.mr = 6,
                                .nr = 64,
                                .k_unit = kUnit,
                                .mc = 192,
                                .nc = 512,
                                .kc = 512,
                                .packed_bytes = 4,
                                .keep_bytes = int64_t{16} << 20,
                                .pack_a = pack_a,
                                .pack_b = pack_b,
                                .multiply = multiply_block<Fma, 1>,
                                .store = store_block,
                                .store_in_multiply = true,
                                .enter = nullptr,
                                .leave = nullptr,
                                .pack_rows = pack_dot_rows,
                                .dot = dot};

}  // namespace octavo
