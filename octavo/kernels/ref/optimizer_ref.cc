// SPDX-License-Identifier: Apache-2.0
// Optimizer steps in FP32 and in the order the other variants keep, without fused multiply-adds: all give the
// same bits.
#include <cmath>

#include "octavo/kernels/ref/rows_ref.h"

namespace octavo {
namespace {

struct Moments {
  float m, v;
};

Moments new_moments(const AdamWStep& step, const OptimizerRow& row, int64_t i) {
  const float g = get(row.grad, i) * step.grad_scale;
  return {step.beta1 * get(row.moment1, i) + step.one_minus_beta1 * g,
          step.beta2 * get(row.moment2, i) + step.one_minus_beta2 * (g * g)};
}

void raise(uint32_t& amax, float x) { amax = std::max(amax, magnitude_bits(x)); }

}  // namespace

void adamw_ref(const AdamWStep& step, OptimizerRow& row) {
  for (int64_t i = 0; i < row.n; ++i) {
    const auto [m, v] = new_moments(step, row, i);
    const float denominator = std::sqrt(v) * step.inverse_root2 + step.eps;
    const float w = get(row.weight, i) * step.decay - step.step_size * (m / denominator);
    row.new_moment1[i] = m;
    row.new_moment2[i] = v;
    row.new_weight[i] = w;
    raise(row.amax_moment1, m);
    raise(row.amax_moment2, v);
    raise(row.amax_weight, w);
  }
}

void adamw_moments_ref(const AdamWStep& step, OptimizerRow& row) {
  for (int64_t i = 0; i < row.n; ++i) {
    const auto [m, v] = new_moments(step, row, i);
    raise(row.amax_moment1, m);
    raise(row.amax_moment2, v);
  }
}

void lion_ref(const LionStep& step, OptimizerRow& row) {
  for (int64_t i = 0; i < row.n; ++i) {
    const float g = get(row.grad, i) * step.grad_scale, before = get(row.moment1, i);
    const float direction = step.beta1 * before + step.one_minus_beta1 * g;
    const float move = direction > 0 ? step.step_size : direction < 0 ? -step.step_size : 0;
    const float w = get(row.weight, i) * step.decay - move;
    const float m = step.beta2 * before + step.one_minus_beta2 * g;
    row.new_moment1[i] = m;
    row.new_weight[i] = w;
    raise(row.amax_moment1, m);
    raise(row.amax_weight, w);
  }
}

void lion_moment_ref(const LionStep& step, OptimizerRow& row) {
  for (int64_t i = 0; i < row.n; ++i) {
    const float g = get(row.grad, i) * step.grad_scale;
    raise(row.amax_moment1, step.beta2 * get(row.moment1, i) + step.one_minus_beta2 * g);
  }
}

}  // namespace octavo
