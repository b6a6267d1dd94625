// SPDX-License-Identifier: Apache-2.0
// What training keeps of a parameter between steps - master weight, gradient, moments - in the recipe's
// numbers.
#pragma once
#include <cstdint>
#include <optional>
#include <vector>

#include "octavo/base/arena.h"
#include "octavo/base/thread_pool.h"
#include "octavo/kernels/stored.h"
#include "octavo/recipe/scaler.h"

namespace octavo {

/// A range of the elements of a tensor.
struct Elements {
  int64_t first = 0, count = 0;
  int64_t end() const { return first + count; }
  friend bool operator==(const Elements&, const Elements&) = default;
};

/// One tensor of a parameter's state, or the part of it that lies here.
struct StateTensor {
  RoleSpec spec;           ///< fp32, or what the recipe's store.* says
  Scaler::Slot slot = -1;  ///< of its scale, where the format carries one
  Elements part;           ///< what is kept here
  Stored at;               ///< element part.first; data == nullptr: nothing is here
  Arena::Block block;

  bool is_fp32() const { return spec.format == Format::fp32; }
  size_t bytes() const { return static_cast<size_t>(part.count * octavo::bytes(spec.format)); }
  /// From an element of the tensor on.
  Stored from(int64_t element) const { return octavo::from(at, element - part.first); }
  CodeRule rule(uint64_t seed) const {
    return {.rounding = spec.rounding,
            .overflow = spec.overflow,
            .seed = seed,
            .first = static_cast<uint64_t>(part.first)};
  }
};

/// `values`, those of all that is kept here, become the state, with a scale for their `amax` (or a pass to
/// find it). `seed`: of stochastic rounding.
Encoded store(StateTensor& state, const float* values, std::optional<float> amax, Scaler& scaler,
              uint64_t seed, ThreadPool& pool);
/// The same by the scale that the scaler remembers, and to nearest: values that were read from such a state
/// become the same codes again.
void restore(StateTensor& state, const float* values, Scaler& scaler, ThreadPool& pool);
/// The values kept here: where they lie, or decoded into `scratch`.
const float* values_of(const StateTensor& state, std::vector<float>& scratch, ThreadPool& pool);

}  // namespace octavo
