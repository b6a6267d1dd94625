// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/nn/transformer.h"
#include "octavo/train/run_config.h"

namespace octavo {

/// AdamW over all parameters of a model with FP32 state.
class Optimizer {
 public:
  explicit Optimizer(const RunConfig::Optim& optim) : optim_(optim) {}

  /// Global L2 norm of all gradients, which are `loss_scale` (a power of two) times too large.
  double gradient_norm(Transformer& model, double loss_scale = 1) const;
  /// One update, `step` 1-based (bias correction), gradients clipped to `optim.clip` given their norm.
  /// Refreshes the compute copies.
  void step(Transformer& model, int64_t step, double lr, double gradient_norm, double loss_scale = 1) const;

 private:
  RunConfig::Optim optim_;
};

}  // namespace octavo
