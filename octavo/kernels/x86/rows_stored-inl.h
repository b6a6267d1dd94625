// SPDX-License-Identifier: Apache-2.0
// Elements of any format as FP32 lanes. Included inside an instruction set's namespace, after
// rows_common-inl.h.

/// Format as a number. kTable: an 8-bit format by way of its values. kFp16WithNan: among the codes are NaNs,
/// which must all widen to 0x7fc00000.
enum { kE4m3 = 0, kE5m2 = 1, kBf16 = 5, kFp16 = 6, kFp32 = 7, kTable = 8, kFp16WithNan = 9 };

/// A row whose format is known when the loop around it is compiled.
template <int kFormat>
struct Elements {
  const void* data;
  F32 scale;
  const float* table;
};

/// Elements i.. before the scale. A code of E4M3, shifted to the place of an FP16 code, is 2^-8 times its
/// value: any_elements() puts that into the scale. A gather from a table of values takes three times as long.
template <int kFormat>
OCTAVO_SIMD F32 unscaled(const Elements<kFormat>& x, int64_t i, auto lanes) {
  [[maybe_unused]] const auto* const bytes = static_cast<const uint8_t*>(x.data);
  [[maybe_unused]] const auto* const halves = static_cast<const uint16_t*>(x.data);
  if constexpr (kFormat == kFp32) {
    return load(static_cast<const float*>(x.data) + i, lanes);
  } else if constexpr (kFormat == kBf16) {
    return load(halves + i, lanes);
  } else if constexpr (kFormat == kTable) {
    return lookup(x.table, load(bytes + i, lanes));
  } else if constexpr (kFormat == kFp16) {
    return widen_fp16(load16(halves + i, lanes));
  } else if constexpr (kFormat == kFp16WithNan) {
    const U16 code = load16(halves + i, lanes), size = code & splat16(0x7fff);
    const U16 one_nan = replace_above(size, splat16(0x7c00), splat16(0x7e00));
    return widen_fp16(one_nan | (code & splat16(0x8000)));
  } else if constexpr (kFormat == kE5m2) {
    return widen_fp16(load16(bytes + i, lanes) << 8);
  } else {
    static_assert(kFormat == kE4m3);
    return widen_fp16((load16_signed(bytes + i, lanes) << 7) & splat16(0xbf80));
  }
}

template <int kFormat>
OCTAVO_SIMD F32 load(const Elements<kFormat>& x, int64_t i, auto lanes) {
  const F32 element = unscaled(x, i, lanes);
  if constexpr (kFormat == kFp32 || kFormat == kBf16) return element;
  return element * x.scale;
}

/// A row whose format is looked at before each load; a branch that always goes the same way.
struct AnyElements {
  int format;
  const void* data;
  float scale;
  const float* table;
};
/// The first n elements. The quick ways do not know NaN, which is looked for beforehand: a 64th of the work.
OCTAVO_SIMD AnyElements any_elements(const StoredRow& row, int64_t n) {
  const auto* const bytes = static_cast<const uint8_t*>(row.data);
  const bool foldable = row.scale <= 0x1p+119f;  // times 256 is still finite
  switch (row.format) {
    case kFp32:
    case kBf16:
      return {row.format, row.data, 1.0f, nullptr};
    case kFp16: {
      const bool nan = any_above(static_cast<const uint16_t*>(row.data), n, 0x7c00);
      return {nan ? kFp16WithNan : kFp16, row.data, row.scale, nullptr};
    }
    case kE5m2:
      if (!any_above(bytes, n, 0x7c)) return {kE5m2, row.data, row.scale, nullptr};
      break;
    case kE4m3:
      if (foldable && !any_above(bytes, n, 0x7e)) return {kE4m3, row.data, row.scale * 256, nullptr};
      break;
    default:
      break;
  }
  return {kTable, row.data, row.scale, row.table};
}
template <int kFormat>
OCTAVO_SIMD Elements<kFormat> as(const AnyElements& x) {
  return {x.data, splat(x.scale), x.table};
}

/// fn(elements) for the format of the row.
template <class Fn>
OCTAVO_SIMD auto with_elements(const AnyElements& x, Fn fn) {
  switch (x.format) {
    case kFp32:
      return fn(as<kFp32>(x));
    case kBf16:
      return fn(as<kBf16>(x));
    case kFp16:
      return fn(as<kFp16>(x));
    case kFp16WithNan:
      return fn(as<kFp16WithNan>(x));
    case kE5m2:
      return fn(as<kE5m2>(x));
    case kE4m3:
      return fn(as<kE4m3>(x));
    default:
      return fn(as<kTable>(x));
  }
}
template <class Fn>
OCTAVO_SIMD auto with_elements(const StoredRow& row, int64_t n, Fn fn) {
  return with_elements(any_elements(row, n), fn);
}

OCTAVO_SIMD F32 load(const AnyElements& x, int64_t i, auto lanes) {
  return with_elements(x, [&](auto elements) OCTAVO_LAMBDA { return load(elements, i, lanes); });
}

/// Starts on the elements of the next stretch, if that is n elements long, too: while results of this one are
/// encoded, nothing else would be on its way from memory.
template <int kFormat>
OCTAVO_SIMD void fetch_next(const Elements<kFormat>& x, int64_t i, int64_t n) {
  constexpr int64_t kBytes = kFormat == kFp32 ? 4 : kFormat == kFp16 || kFormat == kBf16 ? 2 : 1;
  __builtin_prefetch(static_cast<const char*>(x.data) + (i + n) * kBytes);
}

uint32_t decode(const StoredRow& row, float* out, int64_t n) {
  return with_elements(row, n, [&](auto x) OCTAVO_LAMBDA {
    U32 amax = splat(0u);
    sweep(n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      fetch_next(x, i, n);
      const F32 value = load(x, i, lanes);
      track(amax, value, lanes);
      store(out + i, value, lanes);
    });
    return largest(amax);
  });
}

uint32_t stored_amax(const StoredRow& row, int64_t n) {
  return with_elements(row, n, [&](auto x) OCTAVO_LAMBDA {
    return largest(fold(
        n, splat(0u),
        [&](U32& acc, int64_t i, auto lanes)
            OCTAVO_LAMBDA { acc = max(acc, magnitude(used_or(load(x, i, lanes), zero(), lanes))); },
        JoinLargest{}));
  });
}

uint32_t amax(ConstRow x, int64_t cols) {
  return stored_amax({.data = x.data, .format = x.bf16 ? kBf16 : kFp32}, cols);
}

int64_t count_codes(const void* codes, int width, uint32_t magnitude, int64_t n) {
  // Unused lanes are zero, and zero is no magnitude that is counted.
  constexpr int64_t kStep = int64_t{1} << 20;  // lanes add up in 32 bits
  int64_t total = 0;
  for (int64_t first = 0; first < n; first += kStep) {
    U32 count = splat(0u);
    sweep(n - first < kStep ? n - first : kStep, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      i += first;
      const U32 size = width == 16 ? bits(load(static_cast<const uint16_t*>(codes) + i, lanes)) >> 16
                                   : load(static_cast<const uint8_t*>(codes) + i, lanes);
      const U32 mask = splat(width == 16 ? 0x7fffu : 0x7fu);
      count = count + select((size & mask) == splat(magnitude), splat(1u), splat(0u));
    });
    uint32_t lane[kLanes];
    __builtin_memcpy(lane, &count, sizeof(lane));
    for (const uint32_t c : lane) total += c;
  }
  return total;
}
