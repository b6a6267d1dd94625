// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/stored_rows.h"

#include <cstring>

#include "octavo/numerics/decode.h"

namespace octavo {

StoredWriter::StoredWriter(const Stored& out, const CodeRule& rule)
    : out_(out), rule_(rule), kernels_(&row_kernels()) {
  if (is_fp32_or_bf16(out.format)) out_.scale = 1;
  if (out.format == Format::fp32) return;
  grid_ = code_grid(out.format, rule.overflow);
  largest_ = max_finite(out.format);
  below_largest_ = octavo::decode(out.format, spec(out.format).max_code - 1);
}

StoredWriter StoredWriter::with_scale(float scale) const {
  StoredWriter other = *this;
  other.out_.scale = scale;
  return other;
}

EncodedRow StoredWriter::write(const float* x, int64_t first, int64_t count, uint32_t amax) const {
  void* const out = from(out_, first).data;
  if (out_.format == Format::fp32) {
    kernels_->convert({x, false}, {out, false}, count);
    return {amax, 0};
  }
  // Division and rounding are monotonic: the largest magnitude speaks for all, here and in seen().
  const bool bounded = float_from_bits(amax) / out_.scale <= largest_;
  kernels_->quantize({.x = {x, false},
                      .codes = out,
                      .cols = count,
                      .scale = out_.scale,
                      .rounding = static_cast<int>(rule_.rounding),
                      .bounded = bounded,
                      .seed = rule_.seed,
                      .first_index = rule_.first + static_cast<uint64_t>(first)},
                     grid_);
  return seen(first, count, amax);
}

EncodedRow StoredWriter::copy(const void* codes, int64_t first, int64_t count, uint32_t amax) const {
  std::memcpy(from(out_, first).data, codes, static_cast<size_t>(count * bytes(out_.format)));
  return seen(first, count, amax);
}

EncodedRow StoredWriter::seen(int64_t first, int64_t count, uint32_t amax) const {
  const bool none = out_.format == Format::bf16 || float_from_bits(amax) / out_.scale <= below_largest_;
  return {amax, none ? 0 : kernels_->count_codes(from(out_, first).data, grid_.bits, grid_.max_code, count)};
}

EncodedRow StoredWriter::rewrite(const Stored& x, int64_t first, int64_t count) const {
  StretchBuffer buffer;
  EncodedRow seen{};
  for (int64_t i = first; i < first + count; i += kStretch) {
    const int64_t part = std::min(kStretch, first + count - i);
    const uint32_t amax = kernels_->decode(row_of(x, i), buffer.values, part);
    const EncodedRow row = write(buffer.values, i, part, amax);
    seen.amax = std::max(seen.amax, row.amax);
    seen.saturated += row.saturated;
  }
  return seen;
}

}  // namespace octavo
