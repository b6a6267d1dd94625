// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/palette.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace octavo {

std::string ramp_colour(double share) {
  const double at = std::clamp(share, 0.0, 1.0) * static_cast<double>(kRamp.size() - 1);
  const size_t i = std::min(static_cast<size_t>(at), kRamp.size() - 2);
  const double part = at - static_cast<double>(i);
  std::array<int, 3> mixed{};
  for (size_t c = 0; c < 3; ++c)
    mixed[c] = static_cast<int>(std::lround(kRamp[i][c] + (kRamp[i + 1][c] - kRamp[i][c]) * part));
  return fmt::format("#{:02x}{:02x}{:02x}", mixed[0], mixed[1], mixed[2]);
}

}  // namespace octavo
