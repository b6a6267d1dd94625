// SPDX-License-Identifier: Apache-2.0
// `octavo compare --train-infer`.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

namespace octavo {

struct TrainInferOptions {
  std::string model, recipe, data;  ///< a run, model or checkpoint; recipe and data: "" for the run's own
  int64_t sequences = 4, seq_len = 128, piece = 24, threads = 0;
  std::optional<bool> exact;  ///< nothing: what the recipe gets by default
  bool json = false;
};

/// Prints the table, or JSON; exit status check_failed where a bit differs.
void compare_train_infer(const TrainInferOptions& options);

}  // namespace octavo
