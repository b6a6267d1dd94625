// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/lion.h"

#include "octavo/kernels/registry.h"
#include "octavo/kernels/rows.h"

namespace octavo {

void lion(const LionParams& params, float* weight, const float* grad, float* moment, int64_t n, float* amax,
          ThreadPool& pool) {
  const LionStep step{.beta1 = params.beta1,
                      .one_minus_beta1 = static_cast<float>(1 - double{params.beta1}),
                      .beta2 = params.beta2,
                      .one_minus_beta2 = static_cast<float>(1 - double{params.beta2}),
                      .grad_scale = params.grad_scale,
                      .decay = static_cast<float>(1 - params.decay),
                      .step_size = params.lr};
  const RowKernels& kernels = row_kernels();
  SharedAmax largest;
  pool.parallel_for(n, kGrainElements, [&](int64_t begin, int64_t end) {
    largest.raise(kernels.lion(step, weight + begin, grad + begin, moment + begin, end - begin));
  });
  if (amax) *amax = largest.value();
}

}  // namespace octavo
