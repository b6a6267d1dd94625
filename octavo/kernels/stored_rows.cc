// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/stored_rows.h"

#include "octavo/numerics/decode.h"

namespace octavo {

StoredWriter::StoredWriter(const Stored& out, const CodeRule& rule)
    : out_(out), rule_(rule), kernels_(row_kernels()) {
  if (is_fp32_or_bf16(out.format)) out_.scale = 1;
  if (out.format == Format::fp32) return;
  grid_ = code_grid(out.format, rule.overflow);
  below_largest_ = octavo::decode(out.format, spec(out.format).max_code - 1);
}

EncodedRow StoredWriter::write(const float* x, int64_t first, int64_t count) const {
  char* const out = static_cast<char*>(out_.data) + first * bytes(out_.format);
  if (out_.format == Format::fp32) return {.amax = kernels_.convert({x, false}, {out, false}, count)};
  const uint32_t amax = kernels_.quantize({.x = {x, false},
                                           .codes = out,
                                           .cols = count,
                                           .scale = out_.scale,
                                           .rounding = static_cast<int>(rule_.rounding),
                                           .seed = rule_.seed,
                                           .first_index = rule_.first + static_cast<uint64_t>(first)},
                                          grid_);
  // Roundings are monotonic, so the largest magnitude tells whether there is anything to count.
  const bool none = out_.format == Format::bf16 || float_from_bits(amax) / out_.scale <= below_largest_;
  return {amax, none ? 0 : kernels_.count_codes(out, grid_.bits, grid_.max_code, count)};
}

}  // namespace octavo
