// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/optimizer.h"

#include <cmath>

#include "octavo/kernels/adamw.h"
#include "octavo/kernels/lion.h"
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

void Optimizer::step(Transformer& model, int64_t step, double share, double gradient_norm,
                     double loss_scale) const {
  AdamWParams adam;
  LionParams sign;
  adam.beta1 = sign.beta1 = static_cast<float>(optim_.beta1);
  adam.beta2 = sign.beta2 = static_cast<float>(optim_.beta2);
  adam.eps = static_cast<float>(optim_.eps);
  adam.bias_correction1 = static_cast<float>(1.0 - std::pow(optim_.beta1, static_cast<double>(step)));
  adam.bias_correction2 = static_cast<float>(1.0 - std::pow(optim_.beta2, static_cast<double>(step)));
  // PyTorch's clip_grad_norm_ has the same 1e-6.
  if (optim_.clip > 0 && gradient_norm > optim_.clip)
    adam.grad_scale = static_cast<float>(optim_.clip / (gradient_norm + 1e-6));
  adam.grad_scale *= static_cast<float>(1 / loss_scale);
  sign.grad_scale = adam.grad_scale;
  model.pass().run(Part::optimizer, [&](ThreadPool& pool) {
    for (Parameter& p : model.parameters().all()) {
      const Transfer rule = transfer(model.config(), p.layer, optim_.base_width);
      adam.lr = sign.lr = static_cast<float>(optim_.lr * share * rule.lr);
      const double decay = p.decay ? optim_.weight_decay * rule.decay : 0;
      adam.decay = sign.decay = decay * (optim_.decoupled_decay ? share : double{adam.lr});
      if (moments() == 2)
        adamw(adam, p.value, p.grad, p.moment1, p.moment2, p.size(), &p.amax, pool);
      else
        lion(sign, p.value, p.grad, p.moment1, p.size(), &p.amax, pool);
    }
  });
  model.refresh_weights();
}

}  // namespace octavo
