// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/quantize_stats.h"

#include <array>
#include <cmath>
#include <mutex>

#include "octavo/kernels/ref/rows_ref.h"
#include "octavo/kernels/stored_rows.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

void add_row(const QuantizeArgs& args, int64_t r, float largest, QuantizeStats& out) {
  const StoredRow x = stored_row(args.x.row(r), args.x.format, args.x_scale, 0);
  const StoredRow codes = stored_row(args.out.codes.row(r), args.out.codes.format, 1, 0);
  // An amax over a scale made from it, both rounded, may come out a hair above the largest number.
  const float most = largest * (1 + 0x1p-22f);
  for (int64_t c = 0; c < args.x.cols; ++c) {
    const float value = get(x, c), scale = scale_at(args.out, r, c), code = get(codes, c);
    const double kept = double{code} * scale, lost = value - kept;
    out.nonzero += value != 0;
    out.underflow += value != 0 && code == 0;
    out.saturated += std::fabs(value / scale) > most;
    out.signal += double{value} * value;
    out.noise += lost * lost;
    ++out.exponents[magnitude_bits(value) >> 23];
  }
}

}  // namespace

const float* decode_table(Format format) {
  switch (format) {
    case Format::e4m3:
      return kDecodeTable<Format::e4m3>.data();
    case Format::e5m2:
      return kDecodeTable<Format::e5m2>.data();
    case Format::e4m3fnuz:
      return kDecodeTable<Format::e4m3fnuz>.data();
    case Format::e5m2fnuz:
      return kDecodeTable<Format::e5m2fnuz>.data();
    case Format::e8m0:
      return kDecodeTable<Format::e8m0>.data();
    default:
      break;
  }
  assert(!"an 8-bit format");
  return nullptr;
}

void add_quantize_stats(const QuantizeArgs& args, ThreadPool& pool) {
  const float largest = max_finite(args.out.codes.format);
  // Integers may be added in any order; sums of doubles are kept by block until all are there.
  constexpr int64_t kBlocks = 64;
  std::array<double, kBlocks> signal{}, noise{};
  std::mutex merging;
  QuantizeStats& total = *args.stats;
  const int64_t rows = args.x.rows;
  pool.parallel_for(kBlocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      QuantizeStats mine;
      for (int64_t r = rows * b / kBlocks; r < rows * (b + 1) / kBlocks; ++r) add_row(args, r, largest, mine);
      const size_t slot = static_cast<size_t>(b);
      signal[slot] = mine.signal;
      noise[slot] = mine.noise;
      const std::lock_guard lock(merging);
      total.nonzero += mine.nonzero;
      total.underflow += mine.underflow;
      total.saturated += mine.saturated;
      for (int i = 0; i < 256; ++i) total.exponents[i] += mine.exponents[i];
    }
  });
  total.count += rows * args.x.cols;
  for (size_t b = 0; b < kBlocks; ++b) {
    total.signal += signal[b];
    total.noise += noise[b];
  }
}

}  // namespace octavo
