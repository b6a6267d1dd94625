// SPDX-License-Identifier: Apache-2.0
// Included inside an instruction set's namespace, after rows_common-inl.h. Bit for bit the encoding of
// numerics/encode.h.

void column_amax(ConstRow x, int64_t rows, int64_t stride, float* out, int64_t cols) {
  const auto strip = [&](int64_t c, auto lanes, auto count) OCTAVO_LAMBDA {
    constexpr int kVectors = decltype(count)::kCount;
    U32 most[kVectors];
    for (int v = 0; v < kVectors; ++v) most[v] = magnitude(load(out + c + v * kLanes, lanes));
    for (int64_t r = 0; r < rows; ++r)
      for (int v = 0; v < kVectors; ++v)
        most[v] = max(most[v], magnitude(load(x, r * stride + c + v * kLanes, lanes)));
    for (int v = 0; v < kVectors; ++v) store(out + c + v * kLanes, from_bits(most[v]), lanes);
  };
  int64_t c = 0;
  for (; c + 4 * kLanes <= cols; c += 4 * kLanes) strip(c, All{}, Vectors<4>{});
  for (; c + kLanes <= cols; c += kLanes) strip(c, All{}, Vectors<1>{});
  if (c < cols) strip(c, First(cols - c), Vectors<1>{});
}

/// Sign, NaN and overflow around a rounded magnitude.
template <bool kNegativeZero, int kBits = 8>
OCTAVO_SIMD U32 finish_code(U32 code, F32 v, const CodeGrid& g) {
  code = select(splat(g.max_code) < code, splat(g.overflow_code), code);
  code = select(is_nan(v), splat(g.nan_code), code);
  const U32 sign = (bits(v) >> (32 - kBits)) & splat(1u << (kBits - 1));
  // Without -0, NaN is where it would be: nan_code 0x80 has the sign bit anyway, and 0 must stay 0.
  if (kNegativeZero) return code | sign;
  return select(is_nan(v), code, select(code == splat(0u), code, code | sign));
}

/// To nearest even, in floating point: 2^(23 - mantissa bits) times the power of two below |v| is added,
/// which leaves |v| in units of the last place of the target in the low bits of the sum. The power does not
/// go below the smallest normal number, which gives the subnormal grid. No intermediate is an FP32 subnormal
/// (they are slow on many CPUs).
///
/// kClamp: what is too large saturates, by cutting magnitudes at the largest number beforehand (`limit`).
/// Then only a NaN, which passes through min and max, gives a code beyond the largest, and one comparison
/// sees it.
template <int kMantissaBits, bool kNegativeZero, bool kClamp>
OCTAVO_SIMD U32 code_nearest(F32 v, const CodeGrid& g) {
  constexpr int kDropped = 23 - kMantissaBits;
  const F32 size = kClamp ? min(splat(g.limit / 2), abs(v)) : min(abs(v), splat(g.limit));
  const U32 power = bits(max(splat(g.min_normal), size)) & splat(0x7f800000u);
  const U32 magic = power + splat(uint32_t{kDropped} << 23);
  const U32 units = bits(size + from_bits(magic)) - magic;
  const U32 octave = (power >> kDropped) - splat(static_cast<uint32_t>(128 - g.bias) << kMantissaBits);
  const U32 code = units + octave;
  if constexpr (!kClamp || !kNegativeZero) return finish_code<kNegativeZero>(code, v, g);
  const U32 sign = (bits(v) >> 24) & splat(0x80u);
  return select(splat(g.max_code) < code, splat(g.nan_code), code) | sign;
}

/// The same of a number that is neither beyond the end nor a NaN. The code of the octave, which is even,
/// stands in the magic number already, so the sum ends in the code.
template <int kMantissaBits>
OCTAVO_SIMD U32 code_of_bounded(F32 v, const CodeGrid& g) {
  constexpr int kDropped = 23 - kMantissaBits;
  const uint32_t rest = (uint32_t{kDropped} << 23) - (static_cast<uint32_t>(128 - g.bias) << kMantissaBits);
  const U32 power = max(bits(splat(g.min_normal)), magnitude(v)) & splat(0x7f800000u);
  const F32 magic = from_bits(power + (power >> kDropped) + splat(rest));
  return (bits(abs(v) + magic) & splat(0x7fu)) | ((bits(v) >> 24) & splat(0x80u));
}

/// code_of_bounded() of v / scale, a power of two that costs nothing: it moves the octaves. `min_normal` and
/// `magic` have the scale in them.
template <int kMantissaBits>
struct ScaledGrid {
  U32 min_normal, magic;
  OCTAVO_SIMD ScaledGrid(const CodeGrid& g, float scale) {
    constexpr int kDropped = 23 - kMantissaBits;
    min_normal = bits(splat(g.min_normal * scale));
    uint32_t scale_bits = 0;
    __builtin_memcpy(&scale_bits, &scale, 4);
    const uint32_t octaves = (scale_bits >> 23) + 1 - static_cast<uint32_t>(g.bias);
    magic = splat((uint32_t{kDropped} << 23) - (octaves << kMantissaBits));
  }
};
/// In the low byte of each lane; the rest is for store_low_byte() to drop.
template <int kMantissaBits>
OCTAVO_SIMD U32 code_of_bounded(F32 v, const ScaledGrid<kMantissaBits>& g) {
  const U32 power = max(g.min_normal, magnitude(v)) & splat(0x7f800000u);
  const F32 magic = from_bits(power + (power >> (23 - kMantissaBits)) + g.magic);
  return signed_byte(bits(abs(v) + magic), v);
}

/// Towards zero, or with `random` away from it with the probability of the fraction dropped. In integers: the
/// 24-bit significand is shifted, and what falls out is compared as a fraction of 2^32 (see
/// numerics/encode.h, point 4).
template <int kBits = 8, class Random>
OCTAVO_SIMD U32 code_with_fraction(F32 v, const CodeGrid& g, Random random) {
  const U32 size = magnitude(v);
  const U32 field = size >> 23;
  const U32 subnormal = splat(0x00800000u);
  const Mask is_subnormal = size < subnormal;
  const U32 significand = select(is_subnormal, size, (size & splat(0x7fffffu)) | subnormal);
  const U32 exponent = select(is_subnormal, splat(1u), field);
  // Biased FP32 exponent of the smallest normal number of the target.
  const U32 lowest = splat(static_cast<uint32_t>(128 - g.bias));
  const Mask below = exponent < lowest;
  const U32 missing = select(below, lowest - exponent, splat(0u));
  const U32 octave = select(below, splat(0u), exponent - lowest);
  const U32 dropped = missing + splat(static_cast<uint32_t>(23 - g.mantissa_bits));
  const U32 kept = shift_right(significand, dropped);
  // Shift counts beyond 31 give 0, so one of the two is it, or both agree.
  const U32 fraction =
      shift_left(significand, splat(32u) - dropped) | shift_right(significand, dropped - splat(32u));
  const U32 up = select(fraction + random() < fraction, splat(1u), splat(0u));
  const U32 code = (octave << g.mantissa_bits) + kept + up;
  return g.has_negative_zero ? finish_code<true, kBits>(code, v, g) : finish_code<false, kBits>(code, v, g);
}

/// Philox4x32-10 of base/rng.h at counters first.., the first word of each.
OCTAVO_SIMD U32 philox_words(uint64_t first, uint64_t seed) {
  const U32 low_start = splat(static_cast<uint32_t>(first));
  U32 c0 = low_start + iota();
  const U32 carry = select(c0 < low_start, splat(1u), splat(0u));
  U32 c1 = splat(static_cast<uint32_t>(first >> 32)) + carry, c2 = splat(0u), c3 = splat(0u);
  uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    U32 high0, low0, high1, low1;
    multiply_wide(c0, 0xD2511F53, &high0, &low0);
    multiply_wide(c2, 0xCD9E8D57, &high1, &low1);
    c0 = high1 ^ c1 ^ splat(k0);
    c1 = low1;
    c2 = high0 ^ c3 ^ splat(k1);
    c3 = low0;
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c0;
}

/// kBounded: the row is known to be so, which needs no amax.
template <bool kBounded = false, class Encode>
OCTAVO_SIMD uint32_t quantize_with(const QuantizeRow& row, Encode encode) {
  // Dividing by a power of two is multiplying by its inverse. (2^-127 and below have bits in the mantissa
  // field and are divided by: some have no finite inverse.)
  uint32_t scale_bits = 0;
  __builtin_memcpy(&scale_bits, &row.scale, 4);
  const bool power = (scale_bits & 0x007fffff) == 0;
  const F32 inverse = splat(1.0f / row.scale), scale = splat(row.scale);
  uint8_t* codes = static_cast<uint8_t*>(row.codes);
  const int64_t cols = row.cols;
  const auto pass = [&](const auto* x, auto divide) OCTAVO_LAMBDA {
    // One accumulator: an integer maximum takes a single cycle, and registers are short.
    U32 amax = splat(0u);
    const auto code = [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      const F32 value = load(x + i, lanes);
      if constexpr (!kBounded) amax = max(amax, magnitude(value));
      return encode(divide(value, i, lanes), i);
    };
    int64_t done = 0;
    const bool stream = row.stream && reinterpret_cast<uintptr_t>(codes) % (4 * kLanes) == 0;
    for (; done + 4 * kLanes <= cols; done += 4 * kLanes) {
      for (int i = 0; i < 4; ++i) fetch_ahead(x + done + i * kLanes);
      const U32 a = code(done, All{}), b = code(done + kLanes, All{}), c = code(done + 2 * kLanes, All{}),
                d = code(done + 3 * kLanes, All{});
      store_low_bytes(codes + done, a, b, c, d, stream);
    }
    if (stream) _mm_sfence();
    sweep(cols - done, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      i += done;
      fetch_ahead(x + i);
      store_low_byte(codes + i, code(i, lanes), lanes);
    });
    return largest(amax);
  };
  const float* const column_scales = row.column_scales;
  const auto multiply = [&](F32 v, int64_t, auto) OCTAVO_LAMBDA { return v * inverse; };
  const auto divide = [&](F32 v, int64_t, auto) OCTAVO_LAMBDA { return v / scale; };
  const auto divide_each = [&](F32 v, int64_t i, auto lanes)
                               OCTAVO_LAMBDA { return v / load(column_scales + i, lanes); };
  if constexpr (kBounded) {
    const float* x = static_cast<const float*>(row.x.data);
    return power ? pass(x, multiply) : pass(x, divide);
  }
  if (row.x.bf16) {
    const uint16_t* x = static_cast<const uint16_t*>(row.x.data);
    return column_scales ? pass(x, divide_each) : power ? pass(x, multiply) : pass(x, divide);
  }
  const float* x = static_cast<const float*>(row.x.data);
  return column_scales ? pass(x, divide_each) : power ? pass(x, multiply) : pass(x, divide);
}

template <int kMantissaBits, bool kNegativeZero>
uint32_t quantize_nearest(const QuantizeRow& row, const CodeGrid& grid_in_memory) {
  const CodeGrid g = grid_in_memory;  // the codes written might alias it, for all the compiler knows
  if (g.overflow_code == g.max_code)
    return quantize_with(row, [&](F32 v, int64_t) OCTAVO_LAMBDA {
      return code_nearest<kMantissaBits, kNegativeZero, true>(v, g);
    });
  return quantize_with(row, [&](F32 v, int64_t) OCTAVO_LAMBDA {
    return code_nearest<kMantissaBits, kNegativeZero, false>(v, g);
  });
}

template <int kMantissaBits>
uint32_t quantize_bounded(const QuantizeRow& row, const CodeGrid& grid_in_memory) {
  const CodeGrid g = grid_in_memory;
  return quantize_with<true>(
      row, [&](F32 v, int64_t) OCTAVO_LAMBDA { return code_of_bounded<kMantissaBits>(v, g); });
}

/// FP16 codes to nearest even. Infinite ones, which are also those of numbers beyond the end, become
/// `overflow_code`.
OCTAVO_SIMD U16 fp16_codes(F32 v, uint32_t overflow_code) {
  const U16 code = narrow_fp16(v);
  const U16 size = min(code & splat16(0x7fff), splat16(0x7e00));
  return replace_equal(size, splat16(0x7c00), splat16(static_cast<int>(overflow_code))) |
         (code & splat16(0x8000));
}

/// To 16 bits: code(v, i) gives them in the low half of each lane, or as halves.
template <bool kBounded = false, class Code>
uint32_t quantize_halves_with(const QuantizeRow& row, Code code) {
  uint32_t scale_bits = 0;
  __builtin_memcpy(&scale_bits, &row.scale, 4);
  uint16_t* const codes = static_cast<uint16_t*>(row.codes);
  const auto pass = [&](auto divide) OCTAVO_LAMBDA {
    U32 amax = splat(0u);
    sweep(row.cols, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      const F32 value = load(row.x, i, lanes);
      if constexpr (!kBounded) amax = max(amax, magnitude(value));
      store_low_half(codes + i, code(divide(value, i, lanes), i), lanes);
    });
    return largest(amax);
  };
  const F32 inverse = splat(1.0f / row.scale), scale = splat(row.scale);
  if (row.column_scales)
    return pass([&](F32 v, int64_t i, auto lanes)
                    OCTAVO_LAMBDA { return v / load(row.column_scales + i, lanes); });
  if ((scale_bits & 0x007fffff) == 0)
    return pass([&](F32 v, int64_t, auto) OCTAVO_LAMBDA { return v * inverse; });
  return pass([&](F32 v, int64_t, auto) OCTAVO_LAMBDA { return v / scale; });
}

uint32_t quantize_halves(const QuantizeRow& row, const CodeGrid& g) {
  if (row.rounding == 1)
    return quantize_halves_with(row, [&](F32 v, int64_t i) OCTAVO_LAMBDA {
      return code_with_fraction<16>(v, g, [&]() OCTAVO_LAMBDA {
        return philox_words(row.first_index + static_cast<uint64_t>(i), row.seed);
      });
    });
  if (row.rounding == 2)
    return quantize_halves_with(row, [&](F32 v, int64_t) OCTAVO_LAMBDA {
      return code_with_fraction<16>(v, g, []() OCTAVO_LAMBDA { return splat(0u); });
    });
  if (g.mantissa_bits == 10 && row.bounded)
    return quantize_halves_with<true>(row, [&](F32 v, int64_t) OCTAVO_LAMBDA { return narrow_fp16(v); });
  if (g.mantissa_bits == 10)
    return quantize_halves_with(row,
                                [&](F32 v, int64_t) OCTAVO_LAMBDA { return fp16_codes(v, g.overflow_code); });
  return quantize_halves_with(row, [&](F32 v, int64_t) OCTAVO_LAMBDA {
    const U32 size = magnitude(v);
    const U32 code = (size + splat(0x7fffu) + ((size >> 16) & splat(1u))) >> 16;
    return finish_code<true, 16>(code, v, g);
  });
}

uint32_t quantize(const QuantizeRow& row, const CodeGrid& grid_in_memory) {
  const CodeGrid g = grid_in_memory;
  if (g.bits == 16) return quantize_halves(row, g);
  if (row.bounded && row.rounding == 0 && g.has_negative_zero && !row.x.bf16 && !row.column_scales)
    return g.mantissa_bits == 3 ? quantize_bounded<3>(row, g) : quantize_bounded<2>(row, g);
  switch (row.rounding) {
    case 0:
      if (g.mantissa_bits == 3)
        return g.has_negative_zero ? quantize_nearest<3, true>(row, g) : quantize_nearest<3, false>(row, g);
      return g.has_negative_zero ? quantize_nearest<2, true>(row, g) : quantize_nearest<2, false>(row, g);
    case 1:
      return quantize_with(row, [&](F32 v, int64_t i) OCTAVO_LAMBDA {
        return code_with_fraction(v, g, [&]() OCTAVO_LAMBDA {
          return philox_words(row.first_index + static_cast<uint64_t>(i), row.seed);
        });
      });
    default:
      return quantize_with(row, [&](F32 v, int64_t) OCTAVO_LAMBDA {
        return code_with_fraction(v, g, []() OCTAVO_LAMBDA { return splat(0u); });
      });
  }
}

uint32_t convert(ConstRow x, Row y, int64_t cols) {
  U32 amax = splat(0u);
  sweep(cols, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    const F32 value = load(x, i, lanes);
    amax = max(amax, magnitude(value));
    store(y, i, value, lanes);
  });
  return largest(amax);
}

void dequantize(const uint8_t* codes, const float* table, float scale, Row y, int64_t cols) {
  sweep(cols, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    store(y, i, lookup(table, load(codes + i, lanes)) * splat(scale), lanes);
  });
}
