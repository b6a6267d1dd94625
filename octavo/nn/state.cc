// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/state.h"

namespace octavo {

Encoded store(StateTensor& state, const float* values, std::optional<float> amax, Scaler& scaler,
              uint64_t seed, ThreadPool& pool) {
  const int64_t n = state.part.count;
  if (carries_scale(state.spec.format)) {
    if (scaler.needs_amax(state.slot) && !amax) amax = octavo::amax({const_cast<float*>(values)}, n, pool);
    state.at.scale = scaler.scale_for(state.slot, amax.value_or(0.0f));
  }
  return encode(values, n, state.at, state.rule(seed), pool);
}

void restore(StateTensor& state, const float* values, Scaler& scaler, ThreadPool& pool) {
  if (carries_scale(state.spec.format))
    state.at.scale =
        scaler.needs_amax(state.slot) ? scaler.last_scale(state.slot) : scaler.scale_for(state.slot);
  CodeRule rule = state.rule(0);
  rule.rounding = Rounding::nearest_even;
  encode(values, state.part.count, state.at, rule, pool);
}

const float* values_of(const StateTensor& state, std::vector<float>& scratch, ThreadPool& pool) {
  if (state.is_fp32()) return static_cast<const float*>(state.at.data);
  scratch.resize(static_cast<size_t>(state.part.count));
  decode(state.at, state.part.count, scratch.data(), pool);
  return scratch.data();
}

}  // namespace octavo
