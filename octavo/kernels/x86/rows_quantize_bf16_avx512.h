// SPDX-License-Identifier: Apache-2.0
// BF16 to 8 bits in 16-bit lanes, 32 at a time: with a power-of-two scale all of it is integer arithmetic on
// the BF16 codes. The general way, in 32-bit lanes, is slower than memory where that is fast (76 instead of
// over 85 % of a plain read at 70 GB/s). Included inside the namespace of AVX-512, after its simd header.

/// What quantize_bf16 needs of a format, in units of BF16 codes.
struct Bf16Target {
  __m512i limit, rebase, one, dropped, nan;
};

/// 32 codes in 16-bit lanes from 32 BF16 codes; `k` is the exponent of 1 / scale, shifted to its place. The
/// largest magnitude goes to `amax`.
template <int kMantissaBits>
OCTAVO_SIMD __m512i bf16_codes_to_8bit(__m512i x, __m512i k, const Bf16Target& t, __m512i& amax) {
  const __m512i size = _mm512_and_si512(x, _mm512_set1_epi16(0x7fff));
  amax = _mm512_max_epu16(amax, size);
  // Scaled and cut at the largest number; then the exponent field is that of the target, 1 for its smallest
  // normal numbers, 0 and less below.
  const __m512i u = _mm512_subs_epi16(_mm512_min_epi16(_mm512_adds_epi16(size, k), t.limit), t.rebase);
  const __m512i exponent = _mm512_srai_epi16(u, 7);
  const __m512i octave = _mm512_max_epi16(exponent, t.one);
  // (u & 0x7f) | 0x80, to be shifted right by the dropped bits, and further for subnormal results.
  const __m512i significand =
      _mm512_ternarylogic_epi32(u, _mm512_set1_epi16(0x7f), _mm512_set1_epi16(0x80), 0xea);
  const __m512i shift = _mm512_add_epi16(_mm512_sub_epi16(octave, exponent), t.dropped);
  // To nearest even: half a unit less one, and one more where the last bit kept is odd. Counts of 16 and more
  // give 0, which is what remains of such small numbers.
  const __m512i half = _mm512_sllv_epi16(t.one, _mm512_sub_epi16(shift, t.one));
  const __m512i odd = _mm512_and_si512(_mm512_srlv_epi16(significand, shift), t.one);
  const __m512i sum = _mm512_add_epi16(_mm512_add_epi16(significand, _mm512_sub_epi16(half, t.one)), odd);
  __m512i code = _mm512_add_epi16(_mm512_slli_epi16(_mm512_sub_epi16(octave, t.one), kMantissaBits),
                                  _mm512_srlv_epi16(sum, shift));
  code = _mm512_mask_mov_epi16(code, _mm512_cmpgt_epu16_mask(size, _mm512_set1_epi16(0x7f80)), t.nan);
  // code | (x >> 8 & 0x80)
  return _mm512_ternarylogic_epi32(code, _mm512_srli_epi16(x, 8), _mm512_set1_epi16(0x80), 0xf8);
}

template <int kMantissaBits>
uint32_t quantize_bf16_as(const QuantizeRow& row, const CodeGrid& g) {
  uint32_t scale_bits = 0;
  __builtin_memcpy(&scale_bits, &row.scale, 4);
  const int exponent = 127 - static_cast<int>(scale_bits >> 23);  // of 1 / scale
  const float most = g.limit / 2;
  uint32_t limit_bits = 0;
  __builtin_memcpy(&limit_bits, &most, 4);
  const auto words = [](int64_t n) { return _mm512_set1_epi16(static_cast<short>(n)); };
  const Bf16Target t{.limit = words(limit_bits >> 16),
                     .rebase = words((127 - g.bias) * 128),
                     .one = words(1),
                     .dropped = words(7 - kMantissaBits),
                     .nan = words(g.nan_code)};
  const __m512i k = words(exponent * 128), in_order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
  const uint16_t* x = static_cast<const uint16_t*>(row.x.data);
  uint8_t* const out = static_cast<uint8_t*>(row.codes);
  const bool stream = row.stream && reinterpret_cast<uintptr_t>(out) % 64 == 0;
  __m512i amax = _mm512_setzero_si512();
  int64_t i = 0;
  for (; i + 64 <= row.cols; i += 64) {
    fetch_ahead(x + i);
    fetch_ahead(x + i + 32);
    const __m512i a = bf16_codes_to_8bit<kMantissaBits>(_mm512_loadu_si512(x + i), k, t, amax);
    const __m512i b = bf16_codes_to_8bit<kMantissaBits>(_mm512_loadu_si512(x + i + 32), k, t, amax);
    const __m512i codes = _mm512_permutexvar_epi64(in_order, _mm512_packus_epi16(a, b));
    if (stream)
      _mm512_stream_si512(reinterpret_cast<__m512i*>(out + i), codes);
    else
      _mm512_storeu_si512(out + i, codes);
  }
  if (stream) _mm_sfence();
  for (; i < row.cols; i += 32) {
    const int64_t n = row.cols - i;
    const __mmask32 mask = n >= 32 ? ~__mmask32{0} : (__mmask32{1} << n) - 1;
    const __m512i a = bf16_codes_to_8bit<kMantissaBits>(_mm512_maskz_loadu_epi16(mask, x + i), k, t, amax);
    _mm256_mask_storeu_epi8(out + i, mask, _mm512_cvtepi16_epi8(a));
  }
  // Words to doublewords; their order is that of the numbers.
  const __m512i low = _mm512_and_si512(amax, _mm512_set1_epi32(0xffff)), high = _mm512_srli_epi32(amax, 16);
  return largest(U32{_mm512_max_epu32(low, high)}) << 16;
}

/// Whether the row is of the kind this file does.
bool quantizes_bf16(const QuantizeRow& row, const CodeGrid& g) {
  uint32_t scale_bits = 0;
  __builtin_memcpy(&scale_bits, &row.scale, 4);
  // A power of two, not so small that BF16 subnormals, whose exponent is another, would count, and not so
  // large that infinity, whose exponent is 128, would come below the largest number.
  const bool power =
      (scale_bits & 0x807fffff) == 0 && scale_bits >= (27u << 23) && scale_bits <= (227u << 23);
  return row.x.bf16 && g.bits == 8 && power && !row.column_scales && row.rounding == 0 &&
         g.overflow_code == g.max_code && g.has_negative_zero;
}

uint32_t quantize_bf16(const QuantizeRow& row, const CodeGrid& g) {
  return g.mantissa_bits == 3 ? quantize_bf16_as<3>(row, g) : quantize_bf16_as<2>(row, g);
}
