// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/nn/transformer.h"
#include "octavo/train/run_config.h"

namespace octavo {

/// AdamW or Lion over the parameters of a model, in the formats their state is kept in. Learning rate and
/// weight decay of a layer are those of the configuration times the factors of its parametrization
/// (transfer() in nn/scheme.h).
class Optimizer {
 public:
  explicit Optimizer(const RunConfig::Optim& optim) : optim_(optim) {}

  /// States a parameter: AdamW 2, Lion 1.
  int moments() const { return optim_.name == "lion" ? 1 : 2; }
  /// Sum of the squares of all gradients.
  double gradient_squares(Transformer& model) const;
  /// One update, `step` 1-based (bias correction), with `share` of the learning rate (and, where that does
  /// not come with the learning rate, of the weight decay), gradients clipped to `optim.clip` given their
  /// norm; gradients are `loss_scale` (a power of two) times too large. Of what this process owns. The
  /// compute copies are as they were.
  void step(Transformer& model, int64_t step, double share, double gradient_norm,
            double loss_scale = 1) const;

 private:
  RunConfig::Optim optim_;
};

}  // namespace octavo
