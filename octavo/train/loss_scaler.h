// SPDX-License-Identifier: Apache-2.0
// Loss scaling: gradients are computed of the loss times 2^k and divided by 2^k, exactly, before anything
// else sees them.
#pragma once
#include <cstdint>

#include "octavo/recipe/recipe.h"

namespace octavo {

/// What a dynamic scale has learnt; part of a checkpoint.
struct LossScaleState {
  int64_t exponent = 16;  ///< of the scale
  int64_t good = 0;       ///< finite steps since it last changed
  int64_t skipped = 0;    ///< steps without an update: the optimizer does not count them
};

/// `static`: the recipe's factor. `jump`: likewise, after a number of steps. `unit`: the power of two nearest
/// to tokens * width (recipe.h). `dynamic`: halved by a step whose gradients are not finite, which is
/// skipped; doubled after kGrowthSteps steps that were. Dynamic loss scaling follows arXiv:1710.03740,
/// section 3.2; start and growth are the usual values of mixed-precision training.
class LossScaler {
 public:
  static constexpr int64_t kGrowthSteps = 2000, kLargest = 30;

  /// `tokens`: of an optimizer step; `width`: of the model's stream.
  explicit LossScaler(const LossSpec& spec, int64_t tokens = 1, int64_t width = 1);
  bool active() const { return spec_.kind != LossScaling::none; }
  /// A power of two; 1 without scaling. `done`: steps before this one.
  double scale(const LossScaleState& state, int64_t done = 0) const;
  /// After the backward pass. False: the step is to be skipped. Not finite at a scale of 1, or without a
  /// dynamic scale, is not the scale's fault: true, and the caller stops.
  bool accept(bool finite, LossScaleState& state) const;

 private:
  LossSpec spec_;  ///< with the factor of `unit`
};

}  // namespace octavo
