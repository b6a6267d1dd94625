// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/sum_codes.h"

#include "octavo/kernels/stored_rows.h"

namespace octavo {

Encoded sum_codes(std::span<const void* const> parts, Format format, int64_t n, CodeSum how, float factor,
                  const Stored& out, const CodeRule& rule, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  const StoredWriter writer(out, rule);
  const bool rounds = how != CodeSum::fp32 && format != Format::fp32;
  const SumRow whole{.parts = parts.data(),
                     .count = static_cast<int>(parts.size()),
                     .like = stored_row(nullptr, format, 1, 0),
                     .bytes = bytes(format),
                     .grid = rounds ? code_grid(format, Overflow::saturate) : CodeGrid{},
                     .rounds = rounds,
                     .tree = how == CodeSum::tree,
                     .last_is_result = out.format == format && writer.scale() == 1 && factor == 1,
                     .factor = factor};
  SharedEncoded seen;
  pool.parallel_for(n, kGrainElements, [&](int64_t begin, int64_t end) {
    StretchBuffer buffer;
    for (int64_t i = begin; i < end; i += kStretch) {
      SumRow row = whole;
      row.first = i;
      row.n = std::min(kStretch, end - i);
      row.sum = out.format == Format::fp32 ? static_cast<float*>(out.data) + i : buffer.values;
      kernels.sum_codes(row);
      EncodedRow result{.amax = row.amax};
      if (out.format != Format::fp32) result = writer.write(buffer.values, i, row.n, row.amax);
      result.saturated += format == Format::bf16 ? 0 : row.saturated;
      seen.add(result);
    }
  });
  return seen.value();
}

}  // namespace octavo
