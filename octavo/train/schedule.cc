// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace octavo {

double schedule(const RunConfig::Optim& optim, int64_t step, int64_t steps) {
  if (step < optim.warmup_steps)
    return static_cast<double>(step + 1) / static_cast<double>(optim.warmup_steps);
  if (optim.schedule == "constant" || optim.lr == 0) return 1;
  const double left = static_cast<double>(std::max<int64_t>(1, steps - 1 - optim.warmup_steps));
  const double progress = std::min(1.0, static_cast<double>(step - optim.warmup_steps) / left);
  const double share =
      optim.schedule == "linear" ? 1.0 - progress : 0.5 * (1.0 + std::cos(std::numbers::pi * progress));
  const double least = optim.min_lr / optim.lr;
  return least + (1 - least) * share;
}

}  // namespace octavo
