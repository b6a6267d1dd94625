// SPDX-License-Identifier: Apache-2.0
// The data of a run: `data.train` and `data.val` of its configuration, opened and checked against the model.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "octavo/data/loader.h"
#include "octavo/data/token_source.h"
#include "octavo/train/run_config.h"

namespace octavo {

class TrainingData {
 public:
  /// Maps the shards; a directory stands for the data set `octavo prepare` wrote there. Throws usage when
  /// data.train is empty.
  explicit TrainingData(const RunConfig& config);

  /// Of the data; 0 when bare token files do not say.
  int64_t vocab_size() const { return vocab_size_; }
  /// End-of-text id of the data set's tokenizer, -1 without one.
  int64_t eos() const { return eos_; }
  /// Directory of the tokenizer that made the tokens, or "".
  const std::string& tokenizer_path() const { return tokenizer_; }
  int64_t train_tokens() const { return train_->size(); }

  /// Cuts samples. Throws bad_data when a split is shorter than one sequence (of examples: has no answer in
  /// one) or holds ids outside the model's vocabulary.
  void open(int64_t sequence_length, uint64_t seed, int64_t model_vocab);
  /// Training sample `index`, shuffled: inputs and targets of sequence_length tokens.
  void sample(uint64_t index, int32_t* inputs, int32_t* targets) const {
    train_samples_->sample(index, inputs, targets);
  }
  /// Targets of training sample `index` that count.
  int64_t counted(uint64_t index) const { return train_samples_->counted(index); }
  int64_t samples_per_epoch() const { return static_cast<int64_t>(train_samples_->samples_per_epoch()); }
  /// Whether the training data are examples with marks; how they fit the sequence length.
  bool marked() const { return train_->marked(); }
  const SampleLoader::Fit& fit() const { return train_samples_->fit(); }
  /// Sizes and checksums of 64 samples of each split: the same for the same data, wherever it lies. After
  /// open().
  std::string fingerprint() const;
  bool has_validation() const { return val_ != nullptr; }
  /// In order, not shuffled.
  const SampleLoader& validation() const { return *val_samples_; }

 private:
  std::unique_ptr<TokenSource> train_, val_;
  std::unique_ptr<SampleLoader> train_samples_, val_samples_;
  Packing packing_;
  int64_t vocab_size_ = 0, eos_ = -1;
  std::string tokenizer_;
};

/// The tokens behind a path: a shard file, or a data set directory (its validation split, or the training
/// split without one).
std::unique_ptr<TokenSource> open_evaluation_data(const std::string& path);

}  // namespace octavo
