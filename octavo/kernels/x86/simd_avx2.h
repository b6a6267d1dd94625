// SPDX-License-Identifier: Apache-2.0
// Eight FP32 lanes. The same names with the same meaning stand in simd_avx512.h, so that kernels are written
// once. Included only by files compiled with AVX2 and FMA; includes nothing with ordinary inline functions.
#pragma once
#include <immintrin.h>

#include <cstdint>

#define OCTAVO_SIMD inline __attribute__((always_inline))

namespace octavo::avx2 {

inline constexpr int64_t kLanes = 8;

struct F32 {
  __m256 v;
};
struct U32 {
  __m256i v;
};
struct Mask {
  __m256 v;
};

/// Which lanes of a vector are in memory: All of them, or the First n (0 < n < kLanes). Unused lanes load as
/// zero.
struct All {};
struct First {
  explicit OCTAVO_SIMD First(int64_t n)
      : mask(_mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(n)),
                                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))),
        count(static_cast<int>(n)) {}
  __m256i mask;
  int count;
};

OCTAVO_SIMD F32 splat(float x) { return {_mm256_set1_ps(x)}; }
OCTAVO_SIMD U32 splat(uint32_t x) { return {_mm256_set1_epi32(static_cast<int>(x))}; }
OCTAVO_SIMD F32 zero() { return {_mm256_setzero_ps()}; }
/// 0, 1, 2, ...
OCTAVO_SIMD U32 iota() { return {_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)}; }

OCTAVO_SIMD F32 operator+(F32 a, F32 b) { return {_mm256_add_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 operator-(F32 a, F32 b) { return {_mm256_sub_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 operator*(F32 a, F32 b) { return {_mm256_mul_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 operator/(F32 a, F32 b) { return {_mm256_div_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 sqrt(F32 a) { return {_mm256_sqrt_ps(a.v)}; }
/// a * b + c and c - a * b with one rounding.
OCTAVO_SIMD F32 fma(F32 a, F32 b, F32 c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
OCTAVO_SIMD F32 fnma(F32 a, F32 b, F32 c) { return {_mm256_fnmadd_ps(a.v, b.v, c.v)}; }
/// The second argument where either is NaN.
OCTAVO_SIMD F32 max(F32 a, F32 b) { return {_mm256_max_ps(a.v, b.v)}; }
OCTAVO_SIMD F32 min(F32 a, F32 b) { return {_mm256_min_ps(a.v, b.v)}; }

OCTAVO_SIMD U32 bits(F32 a) { return {_mm256_castps_si256(a.v)}; }
OCTAVO_SIMD F32 from_bits(U32 a) { return {_mm256_castsi256_ps(a.v)}; }
OCTAVO_SIMD U32 operator+(U32 a, U32 b) { return {_mm256_add_epi32(a.v, b.v)}; }
OCTAVO_SIMD U32 operator-(U32 a, U32 b) { return {_mm256_sub_epi32(a.v, b.v)}; }
OCTAVO_SIMD U32 operator&(U32 a, U32 b) { return {_mm256_and_si256(a.v, b.v)}; }
OCTAVO_SIMD U32 operator|(U32 a, U32 b) { return {_mm256_or_si256(a.v, b.v)}; }
OCTAVO_SIMD U32 operator^(U32 a, U32 b) { return {_mm256_xor_si256(a.v, b.v)}; }
OCTAVO_SIMD U32 operator>>(U32 a, int n) { return {_mm256_srli_epi32(a.v, n)}; }
OCTAVO_SIMD U32 operator<<(U32 a, int n) { return {_mm256_slli_epi32(a.v, n)}; }
/// Lane by lane; counts from 32 on (so negative ones too) give 0.
OCTAVO_SIMD U32 shift_right(U32 a, U32 n) { return {_mm256_srlv_epi32(a.v, n.v)}; }
OCTAVO_SIMD U32 shift_left(U32 a, U32 n) { return {_mm256_sllv_epi32(a.v, n.v)}; }
/// Unsigned.
OCTAVO_SIMD U32 max(U32 a, U32 b) { return {_mm256_max_epu32(a.v, b.v)}; }
OCTAVO_SIMD U32 min(U32 a, U32 b) { return {_mm256_min_epu32(a.v, b.v)}; }
OCTAVO_SIMD Mask operator<(U32 a, U32 b) {
  const __m256i flip = _mm256_set1_epi32(static_cast<int>(0x80000000u));
  return {_mm256_castsi256_ps(_mm256_cmpgt_epi32(_mm256_xor_si256(b.v, flip), _mm256_xor_si256(a.v, flip)))};
}
OCTAVO_SIMD Mask operator==(U32 a, U32 b) { return {_mm256_castsi256_ps(_mm256_cmpeq_epi32(a.v, b.v))}; }
/// False where either is NaN.
OCTAVO_SIMD Mask operator<(F32 a, F32 b) { return {_mm256_cmp_ps(a.v, b.v, _CMP_LT_OQ)}; }
OCTAVO_SIMD Mask is_nan(F32 a) { return {_mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q)}; }
OCTAVO_SIMD F32 select(Mask m, F32 yes, F32 no) { return {_mm256_blendv_ps(no.v, yes.v, m.v)}; }
OCTAVO_SIMD U32 select(Mask m, U32 yes, U32 no) { return bits(select(m, from_bits(yes), from_bits(no))); }

/// The two halves of the 64-bit products of all lanes.
OCTAVO_SIMD void multiply_wide(U32 a, uint32_t b, U32* high, U32* low) {
  const __m256i factor = _mm256_set1_epi64x(b);
  const __m256i even = _mm256_mul_epu32(a.v, factor),
                odd = _mm256_mul_epu32(_mm256_srli_epi64(a.v, 32), factor);
  low->v = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
  high->v = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xaa);
}

/// Rounded to nearest even.
OCTAVO_SIMD F32 round(F32 a) { return {_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)}; }
/// a * 2^n for integral n in [-252, 254]: in two factors, as 2^n itself may be out of range.
OCTAVO_SIMD F32 scale_by_power(F32 a, F32 n) {
  const __m256i k = _mm256_cvtps_epi32(n.v), half = _mm256_srai_epi32(k, 1), rest = _mm256_sub_epi32(k, half);
  const __m256i one = _mm256_set1_epi32(127);
  const __m256 x = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(half, one), 23));
  const __m256 y = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(rest, one), 23));
  return {_mm256_mul_ps(_mm256_mul_ps(a.v, x), y)};
}

/// The nearest number of FP16 (even on a tie), its subnormals included; beyond 65504 infinity.
OCTAVO_SIMD F32 to_fp16(F32 a) {
  return {_mm256_cvtph_ps(_mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC))};
}

OCTAVO_SIMD F32 load(const float* p, All = {}) { return {_mm256_loadu_ps(p)}; }
OCTAVO_SIMD F32 load(const float* p, First n) { return {_mm256_maskload_ps(p, n.mask)}; }
OCTAVO_SIMD F32 widen_bf16(__m128i h) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16))};
}
/// BF16, widened exactly.
OCTAVO_SIMD F32 load(const uint16_t* p, All = {}) {
  return widen_bf16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
// AVX2 masks only 32-bit lanes, so shorter ones pass through the stack at the end of a row.
OCTAVO_SIMD F32 load(const uint16_t* p, First n) {
  alignas(16) uint16_t part[8] = {};
  for (int i = 0; i < n.count; ++i) part[i] = p[i];
  return widen_bf16(_mm_load_si128(reinterpret_cast<const __m128i*>(part)));
}
/// Bytes, zero-extended.
OCTAVO_SIMD U32 load(const uint8_t* p, All = {}) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
OCTAVO_SIMD U32 load(const uint8_t* p, First n) {
  alignas(16) uint8_t part[16] = {};
  for (int i = 0; i < n.count; ++i) part[i] = p[i];
  return load(part);
}
OCTAVO_SIMD F32 lookup(const float* table, U32 index) { return {_mm256_i32gather_ps(table, index.v, 4)}; }

OCTAVO_SIMD void store(float* p, F32 a, All = {}) { _mm256_storeu_ps(p, a.v); }
OCTAVO_SIMD void store(float* p, F32 a, First n) { _mm256_maskstore_ps(p, n.mask, a.v); }
/// The BF16 code in the low half of each lane: nearest even, NaN as 0x7fc0 with its sign.
OCTAVO_SIMD U32 bf16_codes(F32 a) {
  const U32 u = bits(a), high = {_mm256_srli_epi32(u.v, 16)};
  const U32 sum = u + splat(0x7fffu) + (high & splat(1u)), rounded = {_mm256_srli_epi32(sum.v, 16)};
  return select(is_nan(a), (high & splat(0x8000u)) | splat(0x7fc0u), rounded);
}
OCTAVO_SIMD __m128i low_halves(U32 a) {
  return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi32(a.v, a.v), 0x88));
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U32 a, All = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), low_halves(a));
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U32 a, First n) {
  alignas(16) uint16_t part[8];
  _mm_store_si128(reinterpret_cast<__m128i*>(part), low_halves(a));
  for (int i = 0; i < n.count; ++i) p[i] = part[i];
}
OCTAVO_SIMD void store_low_byte(uint8_t* p, U32 a, All = {}) {
  const __m128i halves = low_halves(a);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(halves, halves));
}
OCTAVO_SIMD void store_low_byte(uint8_t* p, U32 a, First n) {
  alignas(8) uint8_t part[8];
  store_low_byte(part, a);
  for (int i = 0; i < n.count; ++i) p[i] = part[i];
}

/// The low seven bits of a lane under the sign of v, for store_low_byte().
OCTAVO_SIMD U32 signed_byte(U32 a, F32 v) { return (a & splat(0x7fu)) | ((bits(v) >> 24) & splat(0x80u)); }

/// The low bytes of four vectors (whose other bytes are zero) in a row; `stream`: past the caches, p is then
/// aligned to 4 kLanes.
OCTAVO_SIMD void store_low_bytes(uint8_t* p, U32 a, U32 b, U32 c, U32 d, bool stream) {
  // Packing works inside lanes of 128 bits: doublewords come out as a0 b0 c0 d0 a1 b1 c1 d1.
  const __m256i bytes = _mm256_packus_epi16(_mm256_packus_epi32(a.v, b.v), _mm256_packus_epi32(c.v, d.v));
  const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
  const __m256i codes = _mm256_permutevar8x32_epi32(bytes, order);
  if (stream)
    _mm256_stream_si256(reinterpret_cast<__m256i*>(p), codes);
  else
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes);
}

/// Eight 16-bit lanes, for codes of FP16 and the formats that are shifted into it.
struct U16 {
  __m128i v;
};
OCTAVO_SIMD U16 splat16(int x) { return {_mm_set1_epi16(static_cast<short>(x))}; }
OCTAVO_SIMD U16 operator&(U16 a, U16 b) { return {_mm_and_si128(a.v, b.v)}; }
OCTAVO_SIMD U16 operator|(U16 a, U16 b) { return {_mm_or_si128(a.v, b.v)}; }
OCTAVO_SIMD U16 operator<<(U16 a, int n) { return {_mm_slli_epi16(a.v, n)}; }
/// Unsigned.
OCTAVO_SIMD U16 min(U16 a, U16 b) { return {_mm_min_epu16(a.v, b.v)}; }
/// `other` where a > b, both below 2^15; else a.
OCTAVO_SIMD U16 replace_above(U16 a, U16 b, U16 other) {
  return {_mm_blendv_epi8(a.v, other.v, _mm_cmpgt_epi16(a.v, b.v))};
}
OCTAVO_SIMD U16 replace_equal(U16 a, U16 b, U16 other) {
  return {_mm_blendv_epi8(a.v, other.v, _mm_cmpeq_epi16(a.v, b.v))};
}
OCTAVO_SIMD U16 load16(const uint16_t* p, All) {
  return {_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))};
}
OCTAVO_SIMD U16 load16(const uint16_t* p, First n) {
  alignas(16) uint16_t part[8] = {};
  for (int i = 0; i < n.count; ++i) part[i] = p[i];
  return load16(part, All{});
}
/// Bytes, zero-extended.
OCTAVO_SIMD U16 load16(const uint8_t* p, All) {
  return {_mm_cvtepu8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
OCTAVO_SIMD U16 load16(const uint8_t* p, First n) {
  alignas(16) uint8_t part[16] = {};
  for (int i = 0; i < n.count; ++i) part[i] = p[i];
  return load16(part, All{});
}
/// FP16 codes to their values; a NaN keeps its payload.
OCTAVO_SIMD F32 widen_fp16(U16 a) { return {_mm256_cvtph_ps(a.v)}; }
/// To nearest even; beyond 65504 infinity.
OCTAVO_SIMD U16 narrow_fp16(F32 a) {
  return {_mm256_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U16 a, All = {}) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), a.v);
}
OCTAVO_SIMD void store_low_half(uint16_t* p, U16 a, First n) {
  alignas(16) uint16_t part[8];
  store_low_half(part, a);
  for (int i = 0; i < n.count; ++i) p[i] = part[i];
}

/// Whether an element of p[n] without its sign is above `limit`.
OCTAVO_SIMD bool any_above(const uint8_t* p, int64_t n, uint8_t limit) {
  const __m256i mask = _mm256_set1_epi8(0x7f);
  __m256i most = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 32 <= n; i += 32)
    most = _mm256_max_epu8(
        most, _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i)), mask));
  bool found = _mm256_movemask_epi8(_mm256_cmpgt_epi8(most, _mm256_set1_epi8(static_cast<char>(limit)))) != 0;
  for (; i < n; ++i) found |= (p[i] & 0x7f) > limit;
  return found;
}
OCTAVO_SIMD bool any_above(const uint16_t* p, int64_t n, uint16_t limit) {
  const __m256i mask = _mm256_set1_epi16(0x7fff);
  __m256i most = _mm256_setzero_si256();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16)
    most = _mm256_max_epu16(
        most, _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + i)), mask));
  bool found =
      _mm256_movemask_epi8(_mm256_cmpgt_epi16(most, _mm256_set1_epi16(static_cast<short>(limit)))) != 0;
  for (; i < n; ++i) found |= (p[i] & 0x7fff) > limit;
  return found;
}
/// Bytes, with their sign in all upper bits.
OCTAVO_SIMD U16 load16_signed(const uint8_t* p, All) {
  return {_mm_cvtepi8_epi16(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)))};
}
OCTAVO_SIMD U16 load16_signed(const uint8_t* p, First n) {
  alignas(16) uint8_t part[16] = {};
  for (int i = 0; i < n.count; ++i) part[i] = p[i];
  return load16_signed(part, All{});
}

/// a in the used lanes, `other` in the unused ones.
OCTAVO_SIMD F32 used_or(F32 a, F32, All) { return a; }
OCTAVO_SIMD F32 used_or(F32 a, F32 other, First n) {
  return {_mm256_blendv_ps(other.v, a.v, _mm256_castsi256_ps(n.mask))};
}

/// Upper half onto lower half until one lane is left: a fixed order.
OCTAVO_SIMD float sum(F32 a) {
  const __m128 c = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 d = _mm_add_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_add_ss(d, _mm_movehdup_ps(d)));
}
OCTAVO_SIMD float largest(F32 a) {
  const __m128 c = _mm_max_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  const __m128 d = _mm_max_ps(c, _mm_movehl_ps(c, c));
  return _mm_cvtss_f32(_mm_max_ss(d, _mm_movehdup_ps(d)));
}
OCTAVO_SIMD uint32_t largest(U32 a) {
  const __m128i c = _mm_max_epu32(_mm256_castsi256_si128(a.v), _mm256_extracti128_si256(a.v, 1));
  const __m128i d = _mm_max_epu32(c, _mm_unpackhi_epi64(c, c));
  return static_cast<uint32_t>(_mm_cvtsi128_si32(_mm_max_epu32(d, _mm_srli_epi64(d, 32))));
}

/// Adds the squares of all lanes to two accumulators of doubles (exact products, lower and upper half of the
/// lanes).
struct F64Pair {
  __m256d low, high;
};
OCTAVO_SIMD F64Pair zero_pair() { return {_mm256_setzero_pd(), _mm256_setzero_pd()}; }
OCTAVO_SIMD void add_squares(F64Pair& acc, F32 a) {
  const __m256d x = _mm256_cvtps_pd(_mm256_castps256_ps128(a.v)),
                y = _mm256_cvtps_pd(_mm256_extractf128_ps(a.v, 1));
  acc.low = _mm256_fmadd_pd(x, x, acc.low);
  acc.high = _mm256_fmadd_pd(y, y, acc.high);
}
OCTAVO_SIMD double sum(const F64Pair& a) {
  const __m256d s = _mm256_add_pd(a.low, a.high);
  const __m128d c = _mm_add_pd(_mm256_castpd256_pd128(s), _mm256_extractf128_pd(s, 1));
  return _mm_cvtsd_f64(_mm_add_sd(c, _mm_unpackhi_pd(c, c)));
}

#include "octavo/kernels/x86/simd_math-inl.h"

}  // namespace octavo::avx2
