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
    if (counts)
      saturated = saturated + select(near < largest, splat(0u), select(is_nan(v), splat(0u), splat(1u)));
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
  const auto part = [&](int p, int64_t i, auto lanes) OCTAVO_LAMBDA {
    const Elements<kFormat> x{row.parts[p], splat(kFormat == kE4m3 ? 256.0f : 1.0f), row.like.table};
    return load(x, row.first + i, lanes);
  };
  const auto finish = [&](F32 sum, int64_t i, auto lanes) OCTAVO_LAMBDA {
    sum = sum * factor;
    sum = select(is_nan(sum), nan, sum);
    track(amax, sum, lanes);
    store(row.sum + i, sum, lanes);
  };
  const int last = row.count - 1;
  if (row.tree) {
    // Sums of 2^k parts wait in order until an equal one, or the end, comes.
    sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      F32 waiting[kDepth];
      int depth = 0;
      for (int p = 0; p <= last; ++p) {
        F32 sum = part(p, i, lanes);
        for (int k = p; k & 1; k >>= 1) {
          const bool all = p == last && depth == 1;
          sum = partial.rounded(waiting[--depth] + sum, !(all && row.last_is_result));
        }
        waiting[depth++] = sum;
      }
      F32 sum = waiting[--depth];
      while (depth > 0) {
        --depth;
        sum = partial.rounded(waiting[depth] + sum, depth > 0 || !row.last_is_result);
      }
      finish(sum, i, lanes);
    });
  } else {
    sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      F32 sum = part(0, i, lanes);
      for (int p = 1; p <= last; ++p)
        sum = partial.rounded(sum + part(p, i, lanes), p < last || !row.last_is_result);
      finish(sum, i, lanes);
    });
  }
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
