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

  /// Global L2 norm of all gradients.
  double gradient_norm(Transformer& model) const;
  /// One update, `step` 1-based (bias correction), gradients clipped to `optim.clip` given their norm.
  /// Refreshes the compute copies.
  void step(Transformer& model, int64_t step, double lr, double gradient_norm) const;

 private:
  RunConfig::Optim optim_;
};

}  // namespace octavo
