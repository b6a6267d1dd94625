// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/norm.h"

#include <algorithm>
#include <cassert>

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {
namespace {

/// Blocks of rows whose partial gradients are kept apart; depends on the shape alone.
int64_t row_blocks(int64_t rows) { return std::clamp<int64_t>(rows / 16, 1, 64); }

/// The codes of one row of a norm's output, from its input and statistics.
uint32_t encode_row(const RowEncoder& encoder, const RowKernels& kernels, NormForwardRow row, ConstMatrix x,
                    int64_t r, StretchBuffer& buffer) {
  uint32_t largest = 0;
  const float *gamma = row.gamma, *beta = row.beta;
  for (int64_t c = 0; c < x.cols; c += kStretch) {
    row.cols = std::min(kStretch, x.cols - c);
    row.x = row_at(x, r, c);
    row.skip = {};
    row.y = buffer.row(x.format);
    row.gamma = gamma + c;
    row.beta = beta ? beta + c : nullptr;
    kernels.norm_apply(row);
    largest = std::max(largest, encoder.encode({row.y.data, row.y.bf16}, r, c, row.cols));
  }
  return largest;
}

}  // namespace

void norm_forward(const NormForward& args, ThreadPool& pool) {
  assert(!args.residual.data || args.sum.data);
  assert(args.y.data || (args.codes.codes.data && !args.skip.data));
  const RowKernels& kernels = row_kernels();
  const RowEncoder encoder(args.codes);
  const ConstMatrix normalized = args.residual.data ? ConstMatrix(args.sum) : args.x;
  SharedAmax amax;
  pool.parallel_for(args.x.rows, rows_per_grain(args.x.cols), [&](int64_t begin, int64_t end) {
    uint32_t largest = 0;
    StretchBuffer buffer;
    for (int64_t r = begin; r < end; ++r) {
      NormForwardRow row{.rms = args.kind == NormKind::rms,
                         .cols = args.x.cols,
                         .x = row_at(args.x, r),
                         .residual = row_at(args.residual, r),
                         .x_factor = args.x_factor,
                         .sum = row_at(args.sum, r),
                         .y = row_at(args.y, r),
                         .skip = row_at(args.skip, r),
                         .skip_factor = args.skip_factor,
                         .y_factor = args.y_factor,
                         .gamma = args.gamma,
                         .beta = args.beta,
                         .eps = args.eps};
      largest = std::max(largest, kernels.norm_forward(row));
      if (args.y.data && args.codes.codes.data)
        for (int64_t c = 0; c < args.x.cols; c += kStretch)
          encoder.encode(row_at(ConstMatrix(args.y), r, c), r, c, std::min(kStretch, args.x.cols - c));
      if (!args.y.data) largest = std::max(largest, encode_row(encoder, kernels, row, normalized, r, buffer));
      if (args.mean) args.mean[r] = row.mean;
      if (args.rstd) args.rstd[r] = row.rstd;
    }
    amax.raise(largest);
  });
  if (args.amax) *args.amax = amax.value();
}

size_t norm_backward_workspace(int64_t rows, int64_t cols) {
  // dgamma and dbeta, each rounded up to the 64 bytes the workspace hands out.
  const size_t bytes = static_cast<size_t>(row_blocks(rows) * cols) * sizeof(float);
  return 2 * ((bytes + 63) / 64 * 64);
}

void norm_backward(const NormBackward& args, ThreadPool& pool, Workspace& workspace) {
  const int64_t rows = args.x.rows, cols = args.x.cols, blocks = row_blocks(rows);
  const WorkspaceScope scope(workspace);
  const size_t count = static_cast<size_t>(blocks * cols);
  float* dgamma = workspace.take<float>(count);
  float* dbeta = args.dbeta ? workspace.take<float>(count) : nullptr;
  if (workspace.planning()) return;
  const RowKernels& kernels = row_kernels();
  const RowEncoder encoder(args.codes);
  SharedAmax largest;
  pool.parallel_for(blocks, 1, [&](int64_t begin, int64_t end) {
    StretchBuffer buffer;
    for (int64_t b = begin; b < end; ++b) {
      std::fill_n(dgamma + b * cols, cols, 0.0f);
      if (dbeta) std::fill_n(dbeta + b * cols, cols, 0.0f);
      for (int64_t r = rows * b / blocks; r < rows * (b + 1) / blocks; ++r) {
        if (args.codes.codes.data)
          encode_row(encoder, kernels,
                     {.rms = args.kind == NormKind::rms,
                      .gamma = args.gamma,
                      .beta = args.beta,
                      .mean = args.mean ? args.mean[r] : 0.0f,
                      .rstd = args.rstd[r]},
                     args.x, r, buffer);
        kernels.norm_backward({.rms = args.kind == NormKind::rms,
                               .cols = cols,
                               .dy = row_at(args.dy, r),
                               .x = row_at(args.x, r),
                               .residual_grad = row_at(args.residual_grad, r),
                               .dy_factor = args.dy_factor,
                               .residual_factor = args.residual_factor,
                               .dskip = row_at(args.dskip, r),
                               .skip_factor = args.skip_factor,
                               .gamma = args.gamma,
                               .mean = args.mean ? args.mean[r] : 0.0f,
                               .rstd = args.rstd[r],
                               .dx = row_at(args.dx, r),
                               .dgamma = dgamma + b * cols,
                               .dbeta = dbeta ? dbeta + b * cols : nullptr});
        if (args.amax) largest.raise(kernels.amax(row_at(ConstMatrix(args.dx), r), cols));  // still in L1
      }
    }
  });
  if (args.amax) *args.amax = largest.value();
  pool.parallel_for(cols, 256, [&](int64_t begin, int64_t end) {
    kernels.column_sum({dgamma + begin, false}, blocks, cols, args.dgamma + begin, end - begin);
    if (dbeta) kernels.column_sum({dbeta + begin, false}, blocks, cols, args.dbeta + begin, end - begin);
  });
}

}  // namespace octavo
