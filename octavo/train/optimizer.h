// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/nn/transformer.h"
#include "octavo/train/run_config.h"

namespace octavo {

/// AdamW or Lion over all parameters of a model with FP32 state. Learning rate and weight decay of a layer
/// are those of the configuration times the factors of its parametrization (transfer() in nn/scheme.h).
class Optimizer {
 public:
  explicit Optimizer(const RunConfig::Optim& optim) : optim_(optim) {}

  /// States a parameter: AdamW 2, Lion 1.
  int moments() const { return optim_.name == "lion" ? 1 : 2; }
  /// Global L2 norm of all gradients, which are `loss_scale` (a power of two) times too large.
  double gradient_norm(Transformer& model, double loss_scale = 1) const;
  /// One update, `step` 1-based (bias correction), with `share` of the learning rate (and, where that does
  /// not come with the learning rate, of the weight decay), gradients clipped to `optim.clip` given their
  /// norm. Refreshes the compute copies.
  void step(Transformer& model, int64_t step, double share, double gradient_norm,
            double loss_scale = 1) const;

 private:
  RunConfig::Optim optim_;
};

}  // namespace octavo
