// SPDX-License-Identifier: Apache-2.0
// Sums of codes. Included inside an instruction set's namespace, after rows_stored-inl.h.

/// To the nearest number of a format, as a number; saturating. In floating point, as code_nearest() does it.
struct PartialSums {
  bool rounds, bf16, negative_zero;
  U32 dropped;
  F32 largest, min_normal;
  U32 saturated;  ///< so far, in each lane

  explicit OCTAVO_SIMD PartialSums(const SumRow& row)
      : rounds(row.rounds),
        bf16(row.like.format == kBf16),
        negative_zero(row.grid.has_negative_zero),
        dropped(splat(static_cast<uint32_t>(23 - row.grid.mantissa_bits) << 23)),
        largest(splat(row.grid.limit / 2)),
        min_normal(splat(row.grid.min_normal)),
        saturated(splat(0u)) {}

  /// `counts`: whether saturation is. Unused lanes are zeros, which do not saturate.
  OCTAVO_SIMD F32 rounded(F32 v, bool counts) {
    if (!rounds) return v;
    const U32 sign = bits(v) & splat(0x80000000u);
    if (bf16) {
      const U32 size = min(magnitude(v), splat(0x7f7f0000u));
      return select(is_nan(v), v, from_bits((bf16_codes(from_bits(size)) << 16) | sign));
    }
    const F32 size = min(largest, abs(v));  // keeps NaN
    const U32 power = bits(max(min_normal, size)) & splat(0x7f800000u);
    const F32 magic = from_bits(power + dropped);
    const F32 near = (size + magic) - magic;
    if (counts) saturated = saturated + select(bits(near) == bits(largest), splat(1u), splat(0u));
    const F32 result = from_bits(bits(near) | sign);
    return negative_zero ? result : result + zero();
  }
};

template <int kFormat>
void sum_parts(SumRow& row) {
  constexpr int kDepth = 32;
  const F32 factor = splat(row.factor), nan = from_bits(splat(0x7fc00000u));
  PartialSums partial(row);
  U32 amax = splat(0u);
  const int last = row.count - 1;
  const bool counts_last = !row.last_is_result;
  // Several vectors side by side: each addition of a sum waits for the rounding of the one before.
  const auto block = [&](int64_t i, auto lanes, auto count) OCTAVO_LAMBDA {
    constexpr int kVectors = decltype(count)::kCount;
    struct Sums {
      F32 v[kVectors];
    };
    const auto part = [&](int p) OCTAVO_LAMBDA {
      const Elements<kFormat> x{row.parts[p], splat(kFormat == kE4m3 ? 256.0f : 1.0f), row.like.table};
      Sums values;
      for (int k = 0; k < kVectors; ++k) values.v[k] = load(x, row.first + i + k * kLanes, lanes);
      return values;
    };
    const auto add = [&](Sums& sum, const Sums& left, bool counts) OCTAVO_LAMBDA {
      for (int k = 0; k < kVectors; ++k) sum.v[k] = partial.rounded(left.v[k] + sum.v[k], counts);
    };
    Sums sum = part(0);
    if (row.tree) {
      // Sums of 2^k parts wait in order until an equal one, or the end, comes.
      Sums waiting[kDepth];
      int depth = 0;
      waiting[depth++] = sum;
      for (int p = 1; p <= last; ++p) {
        sum = part(p);
        for (int k = p; k & 1; k >>= 1) {
          --depth;
          add(sum, waiting[depth], p < last || depth > 0 || counts_last);
        }
        waiting[depth++] = sum;
      }
      for (sum = waiting[--depth]; depth > 0;) {
        --depth;
        add(sum, waiting[depth], depth > 0 || counts_last);
      }
    } else {
      for (int p = 1; p <= last; ++p) {
        Sums next = part(p);
        add(next, sum, p < last || counts_last);
        sum = next;
      }
    }
    for (int k = 0; k < kVectors; ++k) {
      F32 result = sum.v[k] * factor;
      result = select(is_nan(result), nan, result);
      track(amax, result, lanes);
      store(row.sum + i + k * kLanes, result, lanes);
    }
  };
  int64_t i = 0;
  for (; i + 4 * kLanes <= row.n; i += 4 * kLanes) block(i, All{}, Vectors<4>{});
  for (; i + kLanes <= row.n; i += kLanes) block(i, All{}, Vectors<1>{});
  if (i < row.n) block(i, First(row.n - i), Vectors<1>{});
  uint32_t lane[kLanes];
  __builtin_memcpy(lane, &partial.saturated, sizeof(lane));
  for (const uint32_t s : lane) row.saturated += s;
  row.amax = largest(amax);
}

void sum_codes(SumRow& row) {
  // A NaN in any part: the careful way for all.
  int format = row.like.format;
  for (int p = 0; p < row.count && (format == row.like.format); ++p) {
    StoredRow part = row.like;
    part.data = static_cast<const char*>(row.parts[p]) + row.first * row.bytes;
    format = any_elements(part, row.n).format;
  }
  switch (format) {
    case kFp32:
      return sum_parts<kFp32>(row);
    case kBf16:
      return sum_parts<kBf16>(row);
    case kFp16:
      return sum_parts<kFp16>(row);
    case kFp16WithNan:
      return sum_parts<kFp16WithNan>(row);
    case kE5m2:
      return sum_parts<kE5m2>(row);
    case kE4m3:
      return sum_parts<kE4m3>(row);
    default:
      return sum_parts<kTable>(row);
  }
}
