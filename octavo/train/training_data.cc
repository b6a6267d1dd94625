// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/training_data.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "octavo/base/checksum.h"
#include "octavo/base/error.h"
#include "octavo/data/dataset.h"
#include "octavo/data/tokenizer.h"
#include "octavo/kernels/loss.h"

namespace octavo {
namespace fs = std::filesystem;

static_assert(kNotCounted == kIgnoreTarget, "what the loader leaves out, the loss ignores");

TrainingData::TrainingData(const RunConfig& config) : packing_(packing(config.data.packing)) {
  const RunConfig::Data& data = config.data;
  if (data.train.empty())
    fail_usage(
        "no training data: give --train-data DIR with a directory that octavo prepare wrote, or token "
        "shards");
  for (const std::string& path : data.train)
    if (!fs::exists(path))
      fail_data(
          fmt::format("no training data at '{}': octavo prepare --out {} makes it from text", path, path));
  if (data.train.size() == 1 && fs::is_directory(data.train[0])) {
    const Dataset set = read_dataset(data.train[0]);
    train_ = std::make_unique<TokenSource>(open_split(set, set.train));
    if (data.val.empty() && set.val.tokens > 0)
      val_ = std::make_unique<TokenSource>(open_split(set, set.val));
    vocab_size_ = set.vocab_size;
    if (set.has_tokenizer) {
      tokenizer_ = set.directory;
      eos_ = load_tokenizer(tokenizer_)->eos().value_or(-1);
    }
  } else {
    train_ = std::make_unique<TokenSource>(data.train);
    vocab_size_ = train_->vocab_size();
  }
  if (data.val.size() == 1 && fs::is_directory(data.val[0]))
    val_ = open_evaluation_data(data.val[0]);
  else if (!data.val.empty())
    val_ = std::make_unique<TokenSource>(data.val);
  if (config.model.vocab_size == 0 && config.init.empty() && vocab_size_ == 0)
    fail_usage(
        fmt::format("'{}' does not say how large its vocabulary is: give it with --set model.vocab_size=N",
                    data.train[0]));
}

void TrainingData::open(int64_t sequence_length, uint64_t seed, int64_t model_vocab) {
  train_->require_vocabulary(model_vocab);
  train_samples_ = std::make_unique<SampleLoader>(*train_, sequence_length, seed, true, packing_);
  if (!val_) return;
  val_->require_vocabulary(model_vocab);
  val_samples_ = std::make_unique<SampleLoader>(*val_, sequence_length, 0, false, packing_);
}

std::string TrainingData::fingerprint() const {
  std::string text;
  const auto add = [&](const char* split, const TokenSource& source) {
    constexpr int64_t kSamples = 64, kTokens = 256;
    uint64_t sum = 0;
    std::vector<int32_t> tokens(static_cast<size_t>(std::min(kTokens, source.size())));
    const int64_t room = source.size() - static_cast<int64_t>(tokens.size());
    for (int64_t i = 0; i < kSamples; ++i) {
      source.tokens(room * i / (kSamples - 1), static_cast<int64_t>(tokens.size()), tokens.data());
      sum = checksum64(tokens.data(), tokens.size() * sizeof(int32_t), sum);
    }
    text += fmt::format("{}: {} tokens, checksum {:016x}\n", split, source.size(), sum);
  };
  add("training", *train_);
  if (val_) add("validation", *val_);
  return text;
}

std::unique_ptr<TokenSource> open_evaluation_data(const std::string& path) {
  if (!fs::is_directory(path)) return std::make_unique<TokenSource>(std::vector<std::string>{path});
  const Dataset set = read_dataset(path);
  return std::make_unique<TokenSource>(open_split(set, set.val.tokens > 0 ? set.val : set.train));
}

}  // namespace octavo
