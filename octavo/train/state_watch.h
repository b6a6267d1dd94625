// SPDX-License-Identifier: Apache-2.0
// What an update loses because its results are kept in few bits, on steps that log it.
#pragma once
#include <cstddef>
#include <vector>

#include "octavo/kernels/adamw.h"
#include "octavo/kernels/lion.h"
#include "octavo/nn/parameter.h"
#include "octavo/nn/pass.h"

namespace octavo {

/// Keeps the state of a parameter from before an update, makes the update once more in FP32, and compares.
/// Idle unless the pass takes records and something of the state carries a scale.
class StateWatch {
 public:
  StateWatch(const Parameter& p, const Pass& pass);
  /// After the update by the same parameters: a line for the master and each moment that carries a scale.
  template <class Params>
  void record(const Params& params, const Parameter& p, Pass& pass, ThreadPool& pool) const;

 private:
  struct Before {
    Stored at;
    std::vector<std::byte> bytes;
  };
  static Before copy(const Parameter& p, const StateTensor& state);

  bool active_ = false;
  Before master_, moment1_, moment2_;
};

}  // namespace octavo
