// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/kernels/optimizer_state.h"

namespace octavo {

/// Adam with decoupled weight decay (arXiv 1711.05101, algorithm 2). Bias corrections are 1 - beta^t,
/// computed by the caller in double.
struct AdamWParams {
  float lr = 0, beta1 = 0.9f, beta2 = 0.95f, eps = 1e-8f;
  double decay =
      0;  ///< share of a weight that a step takes away: lr * weight_decay as in PyTorch, or without lr
  float bias_correction1 = 1, bias_correction2 = 1;
  float grad_scale = 1;  ///< multiplies the gradient on the fly: clipping and un-scaling of the loss
};

/// One pass over weight, gradient and both moments (FP32). Returns through `amax` max |w| after the step (or
/// none), so that a per-tensor scale of the new weights needs no pass of its own.
void adamw(const AdamWParams& params, float* weight, const float* grad, float* moment1, float* moment2,
           int64_t n, float* amax, ThreadPool& pool);

/// The same for tensors in any format. Arithmetic in FP32, to the same bits, on the decoded values; the
/// update uses the new moments before they are rounded.
StepSeen adamw(const AdamWParams& params, const OptimizerState& state, const StepOutput& output, int64_t n,
               ThreadPool& pool);

/// The amaxes of what that step would store; nothing is written. Without `weight_too` the weights are not
/// read and their amax is 0: no division, no root, a fraction of the time.
StateAmax adamw_amax(const AdamWParams& params, const OptimizerState& state, int64_t n, bool weight_too,
                     ThreadPool& pool);

}  // namespace octavo
