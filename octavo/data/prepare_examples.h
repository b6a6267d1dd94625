// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "octavo/data/classification.h"
#include "octavo/data/dataset.h"

namespace octavo {

struct PrepareExamplesOptions {
  std::vector<std::string> inputs = {};           ///< files and globs
  std::string template_name = "alpaca";           ///< of conversations
  std::optional<Verbalization> verbalizing = {};  ///< the inputs are labelled texts, not conversations
  std::string text_column = "sentence", label_column = "label";
  std::string tokenizer = {};  ///< file or directory: that of the model to be fine-tuned
  std::string out = {};        ///< directory, created
  double val_fraction = 0.05;  ///< of the examples, [0, 1); 0: no validation split
  int64_t shard_tokens = 100'000'000;
  std::function<void(const char* stage, int64_t done, int64_t total)> progress = {};  ///< in examples
};

/// Conversations or labelled texts to marked shards: a data set like that of prepare(), with dataset.json
/// written last. The validation split is the end of the inputs, at least one example. Throws usage
/// (contradicting options), bad_data naming file and line.
Dataset prepare_examples(const PrepareExamplesOptions& options);

}  // namespace octavo
