// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/base/thread_pool.h"
#include "octavo/kernels/optimizer_state.h"

namespace octavo {

/// Lion (arXiv 2302.06675, algorithm 2): every weight moves by lr, up or down by the sign of beta1 * moment +
/// (1 - beta1) * gradient; the moment then follows with beta2.
struct LionParams {
  float lr = 0, beta1 = 0.9f, beta2 = 0.99f;
  double decay = 0;      ///< share of a weight that a step takes away
  float grad_scale = 1;  ///< multiplies the gradient on the fly: clipping and un-scaling of the loss
};

/// One pass over weight, gradient and moment (FP32). `amax`: becomes max |w| after the step, or none.
void lion(const LionParams& params, float* weight, const float* grad, float* moment, int64_t n, float* amax,
          ThreadPool& pool);

/// The same for tensors in any format, see adamw(). state.moment2 and its output are not used.
StepSeen lion(const LionParams& params, const OptimizerState& state, const StepOutput& output, int64_t n,
              ThreadPool& pool);

/// The amaxes of what that step would store; nothing is written. Without `weight_too` the weights are not
/// read and their amax is 0.
StateAmax lion_amax(const LionParams& params, const OptimizerState& state, int64_t n, bool weight_too,
                    ThreadPool& pool);

}  // namespace octavo
