// SPDX-License-Identifier: Apache-2.0
// What keeping a tensor in few bits between steps costs, as a line of tensors.jsonl. Only on steps that log
// it.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "octavo/nn/state.h"
#include "octavo/recipe/recipe.h"
#include "octavo/recipe/statistics.h"

namespace octavo {

/// The layer a parameter belongs to: its name without ".weight".
std::string layer_name(const std::string& parameter);

/// The loss of a cast of values to the format of a state and the scale it has now. Values come in pieces.
class CastRecord {
 public:
  /// `parameter`: its name. The state must be one that carries a scale, and outlive this.
  CastRecord(const StateTensor& state, Role role, const std::string& parameter);
  void add(const float* values, int64_t count, ThreadPool& pool);
  /// Of all pieces.
  TensorRecord record() const;

 private:
  const StateTensor& state_;
  TensorRecord line_;
  QuantizeStats stats_;
  std::vector<std::byte> codes_;
};

}  // namespace octavo
