// SPDX-License-Identifier: Apache-2.0
// LayerNorm and RMSNorm, with the residual addition before them folded in. Activations are fp32 or bf16,
// arithmetic FP32.
#pragma once
#include <cstddef>
#include <cstdint>

#include "octavo/base/arena.h"
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/quantize.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

enum class NormKind { layer, rms };

struct NormForward {
  NormKind kind = NormKind::layer;
  ConstMatrix x{};  ///< [rows, cols]
  ConstMatrix
      residual{};  ///< data == nullptr, or added to x first (rounded to sum's format before the statistics)
  float x_factor = 1;  ///< of x in the sum with the residual
  Matrix sum{};        ///< x_factor * x + residual, wanted when residual is given; may alias x or residual
  Matrix y{};          ///< normalized output, same format as x; or data == nullptr and only `codes` of it
  /// A stream the norm is added to: y = skip_factor * skip + y_factor * norm. Needs y, which it may alias;
  /// data == nullptr: y is the norm itself.
  ConstMatrix skip{};
  float skip_factor = 1, y_factor = 1;
  /// The codes of y; without y it never reaches memory itself. For scales that are known beforehand.
  CodesOut codes{};
  const float* gamma = nullptr;  ///< [cols]
  const float* beta = nullptr;   ///< [cols] or none (rms has none)
  float* mean = nullptr;         ///< [rows], layer only
  float* rstd = nullptr;         ///< [rows]; 1/sqrt(var + eps) or 1/sqrt(mean square + eps)
  float eps = 1e-5f;
  float* amax = nullptr;  ///< max |y| as stored; NaN propagates
};
void norm_forward(const NormForward& args, ThreadPool& pool);

struct NormBackward {
  NormKind kind = NormKind::layer;
  ConstMatrix dy{}, x{};  ///< x as the forward pass normalized it (its `sum` if there was a residual)
  const float* gamma = nullptr;
  const float* mean = nullptr;  ///< layer only
  const float* rstd = nullptr;
  float dy_factor = 1;          ///< of dy: the forward pass's y_factor
  ConstMatrix residual_grad{};  ///< data == nullptr, or added to dx: the gradient that came around the branch
  float residual_factor = 1;    ///< of residual_grad: the x_factor of the sum that follows
  Matrix dskip{};  ///< skip_factor * dy, the gradient of the forward pass's skip, or none; may alias dy
  float skip_factor = 1;
  Matrix dx{};              ///< may alias dy (without dskip) or residual_grad
  float* dgamma = nullptr;  ///< [cols], added to
  float* dbeta = nullptr;   ///< [cols], added to, or none
  float* amax = nullptr;    ///< max |dx| as stored, or none; NaN propagates
  /// The codes of the forward pass again, to the same bits, if wanted: x is read anyway, so they need not be
  /// kept. beta as in the forward pass.
  CodesOut codes{};
  const float* beta = nullptr;
};
/// Partial sums of dgamma and dbeta go through a fixed number of row blocks: same bits for any team.
size_t norm_backward_workspace(int64_t rows, int64_t cols);
void norm_backward(const NormBackward& args, ThreadPool& pool, Workspace& workspace);

}  // namespace octavo
