// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/histogram.h"

#include <mutex>

#include "octavo/kernels/stored_rows.h"
#include "octavo/numerics/float_bits.h"

namespace octavo {
namespace {

using Counts = std::array<int64_t, MagnitudeHistogram::kBins>;

/// Neighbours count into different tables: an increment would wait for the last one of the same bin.
struct Tables {
  Counts even{}, odd{};
};

template <class Word>
uint32_t count(const Word* x, int64_t n, Tables& tables) {
  constexpr int kDropped = 32 - 8 * static_cast<int>(sizeof(Word));  // BF16 is the upper half of FP32
  uint32_t largest = 0;
  const auto bits = [&](int64_t i) {
    uint32_t word = 0;
    __builtin_memcpy(&word, x + i, sizeof(Word));
    const uint32_t magnitude = (word << kDropped) & 0x7fffffffu;
    largest = std::max(largest, magnitude);
    return magnitude >> MagnitudeHistogram::kShift;
  };
  int64_t i = 0;
  for (; i + 1 < n; i += 2) {
    ++tables.even[bits(i)];
    ++tables.odd[bits(i + 1)];
  }
  if (i < n) ++tables.even[bits(i)];
  return largest;
}

}  // namespace

MagnitudeHistogram magnitude_histogram(ConstMatrix x, ThreadPool& pool, float x_scale) {
  const RowReader reader(x, x_scale);
  MagnitudeHistogram out;
  SharedAmax largest;
  std::mutex merging;
  // Enough elements for each thread that clearing and adding its tables is nothing beside them.
  const int64_t grain = std::max<int64_t>(1, 65536 / std::max<int64_t>(1, x.cols));
  pool.parallel_for(x.rows, grain, [&](int64_t begin, int64_t end) {
    Tables mine;
    StretchBuffer buffer;
    uint32_t seen = 0;
    for (int64_t r = begin; r < end; ++r)
      for (int64_t c = 0; c < x.cols; c += reader.most()) {
        const int64_t cols = std::min(reader.most(), x.cols - c);
        const ConstRow row = reader.read(r, c, cols, buffer);
        seen = std::max(seen, row.bf16 ? count(static_cast<const uint16_t*>(row.data), cols, mine)
                                       : count(static_cast<const uint32_t*>(row.data), cols, mine));
      }
    largest.raise(seen);
    const std::lock_guard lock(merging);
    for (size_t b = 0; b < out.counts.size(); ++b) out.counts[b] += mine.even[b] + mine.odd[b];
  });
  out.amax = largest.value();
  return out;
}

}  // namespace octavo
