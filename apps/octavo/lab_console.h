// SPDX-License-Identifier: Apache-2.0
// What compare and experiment run have in common: from a plan to figures, with progress on stderr.
#pragma once
#include <string>

#include "octavo/lab/plan.h"

namespace octavo {

/// Prepares the data, trains what is missing below `directory`, writes results.json and the pages there, and
/// prints the table (or with `json` the results). Interrupted, it says how to go on and sets the exit status.
void run_lab(LabPlan plan, const std::string& directory, bool json);

/// "key=value" of a --set. Throws usage on keys the comparison sets itself.
Setting parse_setting(const std::string& assignment);

}  // namespace octavo
