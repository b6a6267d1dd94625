// SPDX-License-Identifier: Apache-2.0
// `octavo eval --record`: scales and losses of every quantized tensor, as a directory `octavo report` reads.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "octavo/nn/transformer.h"

namespace octavo {

class EvalRecorder {
 public:
  /// An empty `directory` records nothing. Throws usage when it holds records already, or `recipe` has no
  /// scales.
  EvalRecorder(std::string directory, const std::string& recipe);
  /// For load_model(): weights are quantized while they are read.
  std::vector<TensorRecord>* weights() { return directory_.empty() ? nullptr : &records_; }
  /// From here on passes of `model` are recorded, the first kPasses of them; they are the steps of the lines.
  void begin(Transformer& model);
  /// `progress`, called after every pass.
  std::function<void(int64_t, int64_t)> counting(std::function<void(int64_t, int64_t)> progress);
  /// Writes tensors.jsonl and recipe.toml.
  void finish();

  static constexpr int64_t kPasses = 16;

 private:
  void close_pass();

  std::string directory_;
  Transformer* model_ = nullptr;
  int64_t step_ = 1;
  std::vector<TensorRecord> records_;
  std::string lines_;
};

}  // namespace octavo
