// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/lion.h"

#include "octavo/kernels/optimizer_pass.h"
#include "octavo/kernels/registry.h"

namespace octavo {
namespace {

LionStep step_of(const LionParams& params) {
  return {.beta1 = params.beta1,
          .one_minus_beta1 = static_cast<float>(1 - double{params.beta1}),
          .beta2 = params.beta2,
          .one_minus_beta2 = static_cast<float>(1 - double{params.beta2}),
          .grad_scale = params.grad_scale,
          .decay = static_cast<float>(1 - params.decay),
          .step_size = params.lr};
}

OptimizerState without_moment2(OptimizerState state) {
  state.moment2 = {};
  return state;
}

}  // namespace

void lion(const LionParams& params, float* weight, const float* grad, float* moment, int64_t n, float* amax,
          ThreadPool& pool) {
  const OptimizerState state{.weight = {weight}, .grad = {const_cast<float*>(grad)}, .moment1 = {moment}};
  const StepSeen seen = lion(params, state, {}, n, pool);
  if (amax) *amax = seen.weight.amax;
}

StepSeen lion(const LionParams& params, const OptimizerState& state, const StepOutput& output, int64_t n,
              ThreadPool& pool) {
  const LionStep step = step_of(params);
  const RowKernels& kernels = row_kernels();
  return run_step([&](OptimizerRow& row) { kernels.lion(step, row); }, {}, without_moment2(state), output, n,
                  pool);
}

StateAmax lion_amax(const LionParams& params, const OptimizerState& state, int64_t n, bool weight_too,
                    ThreadPool& pool) {
  const LionStep step = step_of(params);
  const auto kernel = weight_too ? row_kernels().lion : row_kernels().lion_moment;
  return run_amax([&](OptimizerRow& row) { kernel(step, row); }, without_moment2(state), n, weight_too, pool);
}

}  // namespace octavo
