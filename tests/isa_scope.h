// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "octavo/base/cpu.h"

namespace octavo {

/// Lets kernels choose among the variants up to `isa` while it lives.
class IsaScope {
 public:
  explicit IsaScope(Isa isa) : before_(max_isa()) { set_max_isa(isa); }
  ~IsaScope() { set_max_isa(before_); }

 private:
  Isa before_;
};

}  // namespace octavo
