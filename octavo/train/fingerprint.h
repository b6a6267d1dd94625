// SPDX-License-Identifier: Apache-2.0
// Processes that train together must be told the same: program, configuration, recipe, model, data.
#pragma once
#include <string>
#include <vector>

#include "octavo/comm/comm_thread.h"
#include "octavo/nn/model_config.h"
#include "octavo/recipe/recipe.h"
#include "octavo/train/run_config.h"
#include "octavo/train/training_data.h"

namespace octavo {

/// One thing that must be the same, in words for people; long texts are compared line by line.
struct FingerprintItem {
  std::string name, text;
};
std::vector<FingerprintItem> fingerprint(const RunConfig& config, const Recipe& recipe,
                                         const ModelConfig& model, const TrainingData& data);

/// Compares with the first process. Throws usage on every process when one differs; the message, which names
/// the process, its host, what differs and how, is empty on all but the first.
void compare_fingerprints(CommThread& comm, const std::vector<FingerprintItem>& own);

/// The text that the first process has, on all.
std::string shared_text(CommThread& comm, std::string text);

}  // namespace octavo
