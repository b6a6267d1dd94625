// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

#include "octavo/train/run_config.h"

namespace octavo {

/// Share of the peak learning rate at optimizer step `step` (0-based): linear over warmup_steps (the first
/// step has 1 / warmup_steps), then cosine or linear down to min_lr / lr at the last step, or constant. A
/// pure function, so that resuming needs no state.
double schedule(const RunConfig::Optim& optim, int64_t step, int64_t steps);

}  // namespace octavo
