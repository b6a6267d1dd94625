// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/adamw.h"

#include <cmath>

#include "octavo/kernels/optimizer_pass.h"
#include "octavo/kernels/registry.h"

namespace octavo {
namespace {

AdamWStep step_of(const AdamWParams& params) {
  return {.beta1 = params.beta1,
          .one_minus_beta1 = static_cast<float>(1 - double{params.beta1}),
          .beta2 = params.beta2,
          .one_minus_beta2 = static_cast<float>(1 - double{params.beta2}),
          .eps = params.eps,
          .grad_scale = params.grad_scale,
          .decay = static_cast<float>(1 - params.decay),
          .step_size = static_cast<float>(double{params.lr} / params.bias_correction1),
          .inverse_root2 = static_cast<float>(1 / std::sqrt(double{params.bias_correction2}))};
}

}  // namespace

void adamw(const AdamWParams& params, float* weight, const float* grad, float* moment1, float* moment2,
           int64_t n, float* amax, ThreadPool& pool) {
  const OptimizerState state{
      .weight = {weight}, .grad = {const_cast<float*>(grad)}, .moment1 = {moment1}, .moment2 = {moment2}};
  const StepSeen seen = adamw(params, state, {}, n, pool);
  if (amax) *amax = seen.weight.amax;
}

StepSeen adamw(const AdamWParams& params, const OptimizerState& state, const StepOutput& output, int64_t n,
               ThreadPool& pool) {
  const AdamWStep step = step_of(params);
  const RowKernels& kernels = row_kernels();
  RowStepToCodes to_codes;
  if (kernels.adamw_fp8lm)
    to_codes = [&](OptimizerRow& row, const Fp8LmCodes& out) { return kernels.adamw_fp8lm(step, row, out); };
  return run_step([&](OptimizerRow& row) { kernels.adamw(step, row); }, to_codes, state, output, n, pool);
}

StateAmax adamw_amax(const AdamWParams& params, const OptimizerState& state, int64_t n, bool weight_too,
                     ThreadPool& pool) {
  const AdamWStep step = step_of(params);
  const auto kernel = weight_too ? row_kernels().adamw : row_kernels().adamw_moments;
  return run_amax([&](OptimizerRow& row) { kernel(step, row); }, state, n, weight_too, pool);
}

}  // namespace octavo
