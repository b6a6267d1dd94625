// SPDX-License-Identifier: Apache-2.0
// Keys that follow one that is swept, so that a grid over one key is of runs that make sense.
#pragma once
#include <vector>

#include "octavo/lab/plan.h"

namespace octavo {

/// Of a run of a sweep with the values `chosen` on its axes. Where one of them sets
/// - optim.lr and not optim.min_lr: the latter keeps its share of the peak;
/// - model.width: heads keep their width (model.head_dim, else width / heads), kv_heads their share of the
/// heads, a
///   ffn that is set its share of the width, rounded up to 32.
/// Shares are those of the settings without that value. What an axis of its own sets, and of the model's keys
/// what plan.settings and plan.overrides set, stays. Throws usage when such heads do not fill a width.
void follow_axes(RunConfig& config, const LabPlan& plan, const std::vector<const AxisValue*>& chosen);

}  // namespace octavo
