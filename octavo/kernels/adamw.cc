// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/adamw.h"

#include <cmath>

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

void adamw(const AdamWParams& params, float* weight, const float* grad, float* moment1, float* moment2,
           int64_t n, float* amax, ThreadPool& pool) {
  const AdamWStep step{.beta1 = params.beta1,
                       .one_minus_beta1 = static_cast<float>(1 - double{params.beta1}),
                       .beta2 = params.beta2,
                       .one_minus_beta2 = static_cast<float>(1 - double{params.beta2}),
                       .eps = params.eps,
                       .grad_scale = params.grad_scale,
                       .decay = static_cast<float>(1 - params.decay),
                       .step_size = static_cast<float>(double{params.lr} / params.bias_correction1),
                       .inverse_root2 = static_cast<float>(1 / std::sqrt(double{params.bias_correction2}))};
  const RowKernels& kernels = row_kernels();
  SharedAmax largest;
  pool.parallel_for(n, kGrainElements, [&](int64_t begin, int64_t end) {
    largest.raise(
        kernels.adamw(step, weight + begin, grad + begin, moment1 + begin, moment2 + begin, end - begin));
  });
  if (amax) *amax = largest.value();
}

}  // namespace octavo
