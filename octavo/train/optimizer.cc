// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/optimizer.h"

#include <cmath>

#include "octavo/kernels/adamw.h"
#include "octavo/kernels/vector.h"

namespace octavo {

double Optimizer::gradient_norm(Transformer& model, double loss_scale) const {
  double sum = 0;
  model.pass().run(Part::optimizer, [&](ThreadPool& pool) {
    for (const Parameter& p : model.parameters().all())
      sum += p.grad_squares >= 0 ? p.grad_squares : sum_squares(p.grad, p.size(), pool);
  });
  return std::sqrt(sum) / loss_scale;
}

void Optimizer::step(Transformer& model, int64_t step, double lr, double gradient_norm,
                     double loss_scale) const {
  AdamWParams params;
  params.lr = static_cast<float>(lr);
  params.beta1 = static_cast<float>(optim_.beta1);
  params.beta2 = static_cast<float>(optim_.beta2);
  params.eps = static_cast<float>(optim_.eps);
  params.bias_correction1 = static_cast<float>(1.0 - std::pow(optim_.beta1, static_cast<double>(step)));
  params.bias_correction2 = static_cast<float>(1.0 - std::pow(optim_.beta2, static_cast<double>(step)));
  // PyTorch's clip_grad_norm_ has the same 1e-6.
  if (optim_.clip > 0 && gradient_norm > optim_.clip)
    params.grad_scale = static_cast<float>(optim_.clip / (gradient_norm + 1e-6));
  params.grad_scale *= static_cast<float>(1 / loss_scale);
  model.pass().run(Part::optimizer, [&](ThreadPool& pool) {
    for (Parameter& p : model.parameters().all()) {
      params.weight_decay = p.decay ? static_cast<float>(optim_.weight_decay) : 0.0f;
      adamw(params, p.value, p.grad, p.moment1, p.moment2, p.size(), &p.amax, pool);
    }
  });
  model.refresh_weights();
}

}  // namespace octavo
