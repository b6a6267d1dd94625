// SPDX-License-Identifier: Apache-2.0
// GEMMs whose sums go through an FP16 accumulator, as accelerators with 16-bit sums have it. For study, not
// for speed: operands are widened to FP32, tile by tile, and the row kernels keep to one order for all of
// them.
#include <algorithm>

#include "octavo/kernels/gemm_internal.h"

namespace octavo {
namespace {

constexpr int64_t kDepth = 256;  ///< of a tile: a multiple of kFp16Block, so that no cut shows in the sums
constexpr int64_t kLargest = 256;
static_assert(kDepth % kFp16Block == 0 && kLargest % kFp16Columns == 0);

/// Rows and columns of a tile. Smaller ones for small problems, so that every thread has some; bits do not
/// depend on them.
struct Tiles {
  int64_t rows = kLargest, columns = kLargest, down, across;
  Tiles(const GemmArgs& args, int threads) {
    const auto count = [](int64_t n, int64_t of) { return (n + of - 1) / of; };
    const auto few = [&] { return count(args.m, rows) * count(args.n, columns) < 4 * int64_t{threads}; };
    while (few() && columns > kFp16Columns) columns /= 2;
    while (few() && rows > 16) rows /= 2;
    down = count(args.m, rows);
    across = count(args.n, columns);
  }
};

/// What one thread works in.
struct Memory {
  float a[kLargest * kDepth];      ///< [row][k]
  float b[kDepth * kLargest];      ///< [panel of kFp16Columns][k][column]
  float sum[kLargest * kLargest];  ///< [panel][row][column]
  float row_factor[kLargest], column_factor[kLargest];
  float line[kLargest];
};

/// The columns of the panels that hold n.
int64_t padded(int64_t n) { return (n + kFp16Columns - 1) / kFp16Columns * kFp16Columns; }

/// `count` neighbours of a stored line, widened.
void read_line(const GemmOperand& x, int64_t line, int64_t first, int64_t count, float* out) {
  const int64_t at = line * x.stride + first;
  const RowKernels& kernels = row_kernels();
  if (bytes(x.format) == 1)
    kernels.dequantize(static_cast<const uint8_t*>(x.data) + at, gemm_decode(x.format).value, 1.0f,
                       {out, false}, count);
  else
    kernels.convert({static_cast<const char*>(x.data) + at * bytes(x.format), x.format == Format::bf16},
                    {out, false}, count);
}

void read_a(const GemmArgs& args, int64_t m0, int64_t m, int64_t k0, int64_t k, Memory& memory) {
  if (args.a.k_contiguous) {
    for (int64_t r = 0; r < m; ++r) read_line(args.a, m0 + r, k0, k, memory.a + r * kDepth);
    return;
  }
  for (int64_t i = 0; i < k; ++i) {
    read_line(args.a, k0 + i, m0, m, memory.line);
    for (int64_t r = 0; r < m; ++r) memory.a[r * kDepth + i] = memory.line[r];
  }
}

void read_b(const GemmArgs& args, int64_t n0, int64_t n, int64_t k0, int64_t k, Memory& memory) {
  const auto at = [&](int64_t i, int64_t c) {
    return memory.b + (c / kFp16Columns * kDepth + i) * kFp16Columns + c % kFp16Columns;
  };
  if (args.b.k_contiguous) {
    for (int64_t c = 0; c < n; ++c) {
      read_line(args.b, n0 + c, k0, k, memory.line);
      for (int64_t i = 0; i < k; ++i) *at(i, c) = memory.line[i];
    }
  } else {
    for (int64_t i = 0; i < k; ++i)
      for (int64_t c = 0; c < n; c += kFp16Columns)
        read_line(args.b, k0 + i, n0 + c, std::min(kFp16Columns, n - c), at(i, c));
  }
  for (int64_t c = n; c < padded(n); ++c)
    for (int64_t i = 0; i < k; ++i) *at(i, c) = 0;
}

float scale_of(const GemmOperand& x, int64_t row) {
  return x.scale ? x.scale[x.scale_per_row ? row : 0] : 1.0f;
}

void run_tile(const GemmArgs& args, int64_t m0, int64_t m, int64_t n0, int64_t n, Memory& memory,
              GemmFinish& finish) {
  const RowKernels& kernels = row_kernels();
  const bool scaled_parts = args.fp16_sums == Fp16Sums::values;
  for (int64_t r = 0; r < m; ++r) memory.row_factor[r] = args.alpha * scale_of(args.a, m0 + r);
  for (int64_t c = 0; c < padded(n); ++c) memory.column_factor[c] = c < n ? scale_of(args.b, n0 + c) : 1.0f;
  for (int64_t c = 0; c < n; c += kFp16Columns)
    std::fill_n(memory.sum + c * kLargest, m * kFp16Columns, 0.0f);
  for (int64_t k0 = 0; k0 < args.k; k0 += kDepth) {
    const int64_t k = std::min(kDepth, args.k - k0);
    read_a(args, m0, m, k0, k, memory);
    read_b(args, n0, n, k0, k, memory);
    for (int64_t c = 0; c < n; c += kFp16Columns)
      kernels.sum_fp16({.a = memory.a,
                        .a_stride = kDepth,
                        .b = memory.b + c * kDepth,
                        .rows = m,
                        .k = k,
                        .row_factor = scaled_parts ? memory.row_factor : nullptr,
                        .column_factor = memory.column_factor + c,
                        .sum = memory.sum + c * kLargest});
  }
  for (int64_t c = 0; c < n; c += kFp16Columns) {
    float* const block = memory.sum + c * kLargest;
    const int64_t columns = std::min(kFp16Columns, n - c);
    for (int64_t r = 0; r < m; ++r)
      for (int64_t i = 0; i < columns; ++i) {
        float& x = block[r * kFp16Columns + i];
        if (!scaled_parts) x *= memory.row_factor[r] * memory.column_factor[c + i];
        if (args.bias) x += args.bias[n0 + c + i];
      }
    finish.block(block, kFp16Columns, m0, m, n0 + c, columns);
  }
}

}  // namespace

size_t gemm_fp16_workspace(int threads) { return static_cast<size_t>(threads) * sizeof(Memory); }

void gemm_fp16(const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  WorkspaceScope scope(workspace);
  char* const memory = workspace.take<char>(gemm_fp16_workspace(pool.size()));
  if (workspace.planning()) return;
  const Tiles tiles(args, pool.size());
  GemmFinish finish(args);
  pool.run([&](int thread) {
    Memory& mine = reinterpret_cast<Memory*>(memory)[thread];
    const int64_t count = tiles.down * tiles.across;
    for (int64_t t = count * thread / pool.size(); t < count * (thread + 1) / pool.size(); ++t) {
      const int64_t m0 = t / tiles.across * tiles.rows, n0 = t % tiles.across * tiles.columns;
      run_tile(args, m0, std::min(tiles.rows, args.m - m0), n0, std::min(tiles.columns, args.n - n0), mine,
               finish);
    }
  });
  finish.report();
}

}  // namespace octavo
