// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/stored.h"

#include <array>

#include "octavo/kernels/registry.h"
#include "octavo/kernels/stored_rows.h"

namespace octavo {
namespace {

/// fn(first, count) on stretches of [0, n).
template <class Fn>
void for_each_stretch(int64_t n, ThreadPool& pool, Fn fn) {
  pool.parallel_for(n, kGrainElements, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i += kStretch) fn(i, std::min(kStretch, end - i));
  });
}

}  // namespace

void decode(const Stored& x, int64_t n, float* out, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  for_each_stretch(n, pool, [&](int64_t i, int64_t count) { kernels.decode(row_of(x, i), out + i, count); });
}

Encoded encode(const float* x, int64_t n, const Stored& out, const CodeRule& rule, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  const StoredWriter writer(out, rule);
  SharedEncoded seen;
  for_each_stretch(n, pool, [&](int64_t i, int64_t count) {
    seen.add(writer.write(x + i, i, count, kernels.amax({x + i, false}, count)));
  });
  return seen.value();
}

Encoded recode(const Stored& x, int64_t n, const Stored& out, const CodeRule& rule, ThreadPool& pool) {
  const StoredWriter writer(out, rule);
  SharedEncoded seen;
  pool.parallel_for(n, kGrainElements,
                    [&](int64_t begin, int64_t end) { seen.add(writer.rewrite(x, begin, end - begin)); });
  return seen.value();
}

int64_t count_largest(const void* elements, Format format, int64_t n) {
  if (is_fp32_or_bf16(format)) return 0;
  const CodeGrid grid = code_grid(format, Overflow::saturate);
  return row_kernels().count_codes(elements, grid.bits, grid.max_code, n);
}

float amax(const Stored& x, int64_t n, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  SharedAmax largest;
  pool.parallel_for(n, kGrainElements, [&](int64_t begin, int64_t end) {
    largest.raise(kernels.stored_amax(row_of(x, begin), end - begin));
  });
  return largest.value();
}

double sum_squares(const Stored& x, int64_t n, ThreadPool& pool) {
  constexpr int64_t kChunk = int64_t{1} << 16, kSlots = 256;
  const RowKernels& kernels = row_kernels();
  const int64_t chunks = (n + kChunk - 1) / kChunk, slots = std::min(kSlots, chunks);
  std::array<double, kSlots> partial{};
  pool.parallel_for(slots, 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      for (int64_t c = chunks * s / slots; c < chunks * (s + 1) / slots; ++c)
        partial[static_cast<size_t>(s)] +=
            kernels.sum_squares(row_of(x, c * kChunk), std::min(kChunk, n - c * kChunk));
  });
  double total = 0;
  for (double p : partial) total += p;
  return total;
}

}  // namespace octavo
