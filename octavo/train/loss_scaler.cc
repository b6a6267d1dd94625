// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/loss_scaler.h"

#include <cmath>

namespace octavo {

LossScaler::LossScaler(const LossSpec& spec, int64_t tokens, int64_t width) : spec_(spec) {
  if (spec_.kind == LossScaling::unit)
    spec_.factor = std::exp2(std::round(std::log2(static_cast<double>(tokens) * static_cast<double>(width))));
}

double LossScaler::scale(const LossScaleState& state, int64_t done) const {
  if (spec_.kind == LossScaling::none || (spec_.kind == LossScaling::jump && done < spec_.step)) return 1;
  if (spec_.kind == LossScaling::dynamic) return std::ldexp(1.0, static_cast<int>(state.exponent));
  return spec_.factor;
}

bool LossScaler::accept(bool finite, LossScaleState& state) const {
  if (spec_.kind != LossScaling::dynamic) return true;
  if (!finite) {
    if (state.exponent == 0) return true;
    --state.exponent;
    state.good = 0;
    ++state.skipped;
    return false;
  }
  if (++state.good == kGrowthSteps) {
    state.good = 0;
    if (state.exponent < kLargest) ++state.exponent;
  }
  return true;
}

}  // namespace octavo
