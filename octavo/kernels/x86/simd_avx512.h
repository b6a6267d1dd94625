// SPDX-License-Identifier: Apache-2.0
// Sixteen FP32 lanes. The same names with the same meaning stand in simd_avx2.h, so that kernels are written
// once. Included only by files compiled with AVX-512 F/DQ/BW/VL; includes nothing with ordinary inline
// functions.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define OCTAVO_SIMD inline __attribute__((always_inline))

namespace octavo::avx512 {

inline constexpr int64_t kLanes = 16;

struct F32 {
  __m512 v;
};
struct U32 {
  __m512i v;
};
struct Mask {
  __mmask16 v;
};

/// Which lanes of a vector are in memory: All of them, or the First n (0 < n < kLanes). Unused lanes load as
/// zero.
struct All {};
struct First {
  explicit OCTAVO_SIMD First(int64_t n) : mask(static_cast<__mmask16>((1u << n) - 1)) {}
  __mmask16 mask;
};

OCTAVO_SIMD F32 splat(float x) { return {_mm512_set1_ps(x)}; }
OCTAVO_SIMD U32 splat(uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
OCTAVO_SIMD F32 zero() { return {_mm512_setzero_ps()}; }
/// 0, 1, 2, ...
OCTAVO_SIMD U32 iota() { return {_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)}; }

OCTAVO_SIMD F32 operator+(F32 a, F32 b) { return {_mm512_add_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 operator-(F32 a, F32 b) { return {_mm512_sub_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 operator*(F32 a, F32 b) { return {_mm512_mul_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 operator/(F32 a, F32 b) { return {_mm512_div_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 sqrt(F32 a) { return {_mm512_sqrt_ps(a.v)}; }
/// a * b + c and c - a * b with one rounding.
OCTAVO_SIMD F32 fma(F32 a, F32 b, F32 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
OCTAVO_SIMD F32 fnma(F32 a, F32 b, F32 c) { return {_mm512_fnmadd_ps(a.v, b.v, c.v)}; }
/// The second argument where either is NaN.
OCTAVO_SIMD F32 max(F32 a, F32 b) { return {_mm512_max_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 min(F32 a, F32 b) { return {_mm512_min_ps(a.v, b.v)}; }

OCTAVO_SIMD U32 bits(F32 a) { return {_mm512_castps_si512(a.v)}; }
OCTAVO_SIMD F32 from_bits(U32 a) { return {_mm512_castsi512_ps(a.v)}; }
OCTAVO_SIMD U32 operator+(U32 a, U32 b) { return {_mm512_add_epi32(a.v, b.v)}; }
OCTAVO_SIMD U32 operator-(U32 a, U32 b) { return {_mm512_sub_epi32(a.v, b.v)}; }
OCTAVO_SIMD U32 operator&(U32 a, U32 b) { return {_mm512_and_si512(a.v, b.v)}; }
OCTAVO_SIMD U32 operator|(U32 a, U32 b) { return {_mm512_or_si512(a.v, b.v)}; }
OCTAVO_SIMD U32 operator^(U32 a, U32 b) { return {_mm512_xor_si512(a.v, b.v)}; }
OCTAVO_SIMD U32 operator>>(U32 a, int n) { return {_mm512_srli_epi32(a.v, static_cast<unsigned>(n))}; }
OCTAVO_SIMD U32 operator<<(U32 a, int n) { return {_mm512_slli_epi32(a.v, static_cast<unsigned>(n))}; }
/// Lane by lane; counts from 32 on (so negative ones too) give 0.
OCTAVO_SIMD U32 shift_right(U32 a, U32 n) { return {_mm512_srlv_epi32(a.v, n.v)}; }
OCTAVO_SIMD U32 shift_left(U32 a, U32 n) { return {_mm512_sllv_epi32(a.v, n.v)}; }
/// Unsigned.
OCTAVO_SIMD U32 max(U32 a, U32 b) { return {_mm512_max_epu32(a.v, b.v)}; }
OCTAVO_SIMD U32 min(U32 a, U32 b) { return {_mm512_min_epu32(a.v, b.v)}; }
OCTAVO_SIMD Mask operator<(U32 a, U32 b) { return {_mm512_cmplt_epu32_mask(a.v, b.v)}; }
OCTAVO_SIMD Mask operator==(U32 a, U32 b) { return {_mm512_cmpeq_epu32_mask(a.v, b.v)}; }
/// False where either is NaN.
OCTAVO_SIMD Mask operator<(F32 a, F32 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
OCTAVO_SIMD Mask is_nan(F32 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
OCTAVO_SIMD F32 select(Mask m, F32 yes, F32 no) { return {_mm512_mask_blend_ps(m.v, no.v, yes.v)}; }
OCTAVO_SIMD U32 select(Mask m, U32 yes, U32 no) { return {_mm512_mask_blend_epi32(m.v, no.v, yes.v)}; }

/// The two halves of the 64-bit products of all lanes.
OCTAVO_SIMD void multiply_wide(U32 a, uint32_t b, U32* high, U32* low) {
  const __m512i factor = _mm512_set1_epi64(b);
  const __m512i even = _mm512_mul_epu32(a.v, factor),
                odd = _mm512_mul_epu32(_mm512_srli_epi64(a.v, 32), factor);
  low->v = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
  high->v = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
}

/// Rounded to nearest even, as a float and as an integer in two's complement.
OCTAVO_SIMD F32 round(F32 a) {
  return {_mm512_roundscale_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
/// a * 2^n for integral n in [-252, 254].
OCTAVO_SIMD F32 scale_by_power(F32 a, F32 n) { return {_mm512_scalef_ps(a.v, n.v)}; }

/// The nearest number of FP16 (even on a tie), its subnormals included; beyond 65504 infinity.
OCTAVO_SIMD F32 to_fp16(F32 a) {
  return {_mm512_cvtph_ps(_mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))};
}

OCTAVO_SIMD F32 load(const float* p, All = {}) { return {_mm512_loadu_ps(p)}; }
OCTAVO_SIMD F32 load(const float* p, First n) { return {_mm512_maskz_loadu_ps(n.mask, p)}; }
OCTAVO_SIMD F32 widen_bf16(__m256i h) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16))};
}
/// BF16, widened exactly.
OCTAVO_SIMD F32 load(const uint16_t* p, All = {}) {
  return widen_bf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
OCTAVO_SIMD F32 load(const uint16_t* p, First n) { return widen_bf16(_mm256_maskz_loadu_epi16(n.mask, p)); }
/// Bytes, zero-extended.
OCTAVO_SIMD U32 load(const uint8_t* p, All = {}) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
OCTAVO_SIMD U32 load(const uint8_t* p, First n) {
  return {_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(n.mask, p))};
}
OCTAVO_SIMD F32 lookup(const float* table, U32 index) { return {_mm512_i32gather_ps(index.v, table, 4)}; }

OCTAVO_SIMD void store(float* p, F32 a, All = {}) { _mm512_storeu_ps(p, a.v); }
OCTAVO_SIMD void store(float* p, F32 a, First n) { _mm512_mask_storeu_ps(p, n.mask, a.v); }
/// The BF16 code in the low half of each lane: nearest even, NaN as 0x7fc0 with its sign. Integer arithmetic
/// and not VCVTNEPS2BF16, which flushes FP32 subnormals and would round differently from the other variants.
OCTAVO_SIMD U32 bf16_codes(F32 a) {
  const __m512i u = bits(a).v, high = _mm512_srli_epi32(u, 16);
  const __m512i odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
  const __m512i rounded =
      _mm512_srli_epi32(_mm512_add_epi32(_mm512_add_epi32(u, _mm512_set1_epi32(0x7fff)), odd), 16);
  const __m512i sign = _mm512_and_si512(high, _mm512_set1_epi32(0x8000));
  return {_mm512_mask_or_epi32(rounded, is_nan(a).v, sign, _mm512_set1_epi32(0x7fc0))};
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U32 a, All = {}) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U32 a, First n) {
  _mm256_mask_storeu_epi16(p, n.mask, _mm512_cvtepi32_epi16(a.v));
}
OCTAVO_SIMD void store_low_byte(uint8_t* p, U32 a, All = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}
OCTAVO_SIMD void store_low_byte(uint8_t* p, U32 a, First n) {
  _mm_mask_storeu_epi8(p, n.mask, _mm512_cvtepi32_epi8(a.v));
}

/// The low seven bits of a lane under the sign of v, for store_low_byte(); above them anything.
OCTAVO_SIMD U32 signed_byte(U32 a, F32 v) {
  // Bit by bit: a where the mask is set, else v.
  const __m512i sign = _mm512_srli_epi32(bits(v).v, 24);
  return {_mm512_ternarylogic_epi32(_mm512_set1_epi32(0x7f), a.v, sign, 0xca)};
}

/// The low bytes of four vectors (whose other bytes are zero) in a row; `stream`: past the caches, p is then
/// aligned to 4 kLanes.
OCTAVO_SIMD void store_low_bytes(uint8_t* p, U32 a, U32 b, U32 c, U32 d, bool stream) {
  // Packing works inside lanes of 128 bits: doublewords come out as a0 b0 c0 d0 a1 b1 c1 d1 ...
  const __m512i bytes = _mm512_packus_epi16(_mm512_packus_epi32(a.v, b.v), _mm512_packus_epi32(c.v, d.v));
  const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const __m512i codes = _mm512_permutexvar_epi32(order, bytes);
  if (stream)
    _mm512_stream_si512(reinterpret_cast<__m512i*>(p), codes);
  else
    _mm512_storeu_si512(p, codes);
}

/// Sixteen 16-bit lanes, for codes of FP16 and the formats that are shifted into it.
struct U16 {
  __m256i v;
};
OCTAVO_SIMD U16 splat16(int x) { return {_mm256_set1_epi16(static_cast<short>(x))}; }
OCTAVO_SIMD U16 operator&(U16 a, U16 b) { return {_mm256_and_si256(a.v, b.v)}; }
OCTAVO_SIMD U16 operator|(U16 a, U16 b) { return {_mm256_or_si256(a.v, b.v)}; }
OCTAVO_SIMD U16 operator<<(U16 a, int n) { return {_mm256_slli_epi16(a.v, n)}; }
/// Unsigned.
OCTAVO_SIMD U16 min(U16 a, U16 b) { return {_mm256_min_epu16(a.v, b.v)}; }
/// `other` where a > b, both below 2^15; else a.
OCTAVO_SIMD U16 replace_above(U16 a, U16 b, U16 other) {
  return {_mm256_mask_mov_epi16(a.v, _mm256_cmpgt_epi16_mask(a.v, b.v), other.v)};
}
OCTAVO_SIMD U16 replace_equal(U16 a, U16 b, U16 other) {
  return {_mm256_mask_mov_epi16(a.v, _mm256_cmpeq_epi16_mask(a.v, b.v), other.v)};
}
OCTAVO_SIMD U16 load16(const uint16_t* p, All) {
  return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
}
OCTAVO_SIMD U16 load16(const uint16_t* p, First n) { return {_mm256_maskz_loadu_epi16(n.mask, p)}; }
/// Bytes, zero-extended.
OCTAVO_SIMD U16 load16(const uint8_t* p, All) {
  return {_mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
OCTAVO_SIMD U16 load16(const uint8_t* p, First n) {
  return {_mm256_cvtepu8_epi16(_mm_maskz_loadu_epi8(n.mask, p))};
}
/// FP16 codes to their values; a NaN keeps its payload.
OCTAVO_SIMD F32 widen_fp16(U16 a) { return {_mm512_cvtph_ps(a.v)}; }
/// To nearest even; beyond 65504 infinity.
OCTAVO_SIMD U16 narrow_fp16(F32 a) {
  return {_mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U16 a, All = {}) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U16 a, First n) { _mm256_mask_storeu_epi16(p, n.mask, a.v); }

/// Whether an element of p[n] without its sign is above `limit`.
OCTAVO_SIMD bool any_above(const uint8_t* p, int64_t n, uint8_t limit) {
  const __m512i mask = _mm512_set1_epi8(0x7f);
  __m512i most = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i + 64 <= n; i += 64)
    most = _mm512_max_epu8(most, _mm512_and_si512(_mm512_loadu_si512(p + i), mask));
  bool found = _mm512_cmpgt_epi8_mask(most, _mm512_set1_epi8(static_cast<char>(limit))) != 0;
  for (; i < n; ++i) found |= (p[i] & 0x7f) > limit;
  return found;
}
OCTAVO_SIMD bool any_above(const uint16_t* p, int64_t n, uint16_t limit) {
  const __m512i mask = _mm512_set1_epi16(0x7fff);
  __m512i most = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    most = _mm512_max_epu16(most, _mm512_and_si512(_mm512_loadu_si512(p + i), mask));
  bool found = _mm512_cmpgt_epi16_mask(most, _mm512_set1_epi16(static_cast<short>(limit))) != 0;
  for (; i < n; ++i) found |= (p[i] & 0x7fff) > limit;
  return found;
}
/// Bytes, with their sign in all upper bits.
OCTAVO_SIMD U16 load16_signed(const uint8_t* p, All) {
  return {_mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)))};
}
OCTAVO_SIMD U16 load16_signed(const uint8_t* p, First n) {
  return {_mm256_cvtepi8_epi16(_mm_maskz_loadu_epi8(n.mask, p))};
}

/// a in the used lanes, `other` in the unused ones.
OCTAVO_SIMD F32 used_or(F32 a, F32, All) { return a; }
OCTAVO_SIMD F32 used_or(F32 a, F32 other, First n) { return {_mm512_mask_blend_ps(n.mask, other.v, a.v)}; }

/// Upper half onto lower half until one lane is left: a fixed order.
OCTAVO_SIMD float sum(F32 a) {
  const __m256 b = _mm256_add_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
OCTAVO_SIMD float largest(F32 a) {
  const __m256 b = _mm256_max_ps(_mm512_castps512_ps256(a.v), _mm512_extractf32x8_ps(a.v, 1));
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(b), _mm256_extractf128_ps(b, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
OCTAVO_SIMD uint32_t largest(U32 a) {
  const __m256i b = _mm256_max_epu32(_mm512_castsi512_si256(a.v), _mm512_extracti32x8_epi32(a.v, 1));
  const __m128i c = _mm_max_epu32(_mm256_castsi256_si128(b), _mm256_extracti128_si256(b, 1));
  const __m128i d = _mm_max_epu32(c, _mm_unpackhi_epi64(c, c));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_max_epu32(d, _mm_srli_epi64(d, 32))));
}

/// Adds the squares of all lanes to two accumulators of doubles (exact products, lower and upper half of the
/// lanes).
struct F64Pair {
  __m512d low, high;
};
OCTAVO_SIMD F64Pair zero_pair() { return {_mm512_setzero_pd(), _mm512_setzero_pd()}; }
OCTAVO_SIMD void add_squares(F64Pair& acc, F32 a) {
  const __m512d x = _mm512_cvtps_pd(_mm512_castps512_ps256(a.v)),
                y = _mm512_cvtps_pd(_mm512_extractf32x8_ps(a.v, 1));
  acc.low = _mm512_fmadd_pd(x, x, acc.low);
  acc.high = _mm512_fmadd_pd(y, y, acc.high);
}
OCTAVO_SIMD double sum(const F64Pair& a) {
  const __m512d s = _mm512_add_pd(a.low, a.high);
  const __m256d b = _mm256_add_pd(_mm512_castpd512_pd256(s), _mm512_extractf64x4_pd(s, 1));
  const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(b), _mm256_extractf128_pd(b, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

#include "octavo/kernels/x86/simd_math-inl.h"

}  // namespace octavo::avx512
