// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace octavo {

struct BpeTrainOptions {
  int32_t vocab_size = 4096;                                    ///< special tokens and the 256 bytes included
  int64_t min_frequency = 2;                                    ///< pairs seen less often are not joined
  std::vector<std::string> special_tokens = {"<|endoftext|>"};  ///< get the first ids
  std::function<void(int32_t tokens_done, int32_t tokens_wanted)> progress = {};
};

/// A byte-level BPE as training makes it. Ids: special tokens, the 256 bytes in the order of their printable
/// characters (utf8.h), then one token for each merge, except where a merge spells a token that is there
/// already.
struct TrainedBpe {
  std::vector<std::string> special_tokens;
  std::vector<std::string> tokens;  ///< bytes of every token by id; special tokens as they are
  std::vector<std::pair<int32_t, int32_t>> merges;
};

/// Learns merges from word counts (Sennrich et al. 2016, on bytes): the most frequent pair of neighbours
/// within words first, the lexicographically smallest pair of ids among equals, as PyPI `tokenizers` does.
/// Deterministic.
class BpeTrainer {
 public:
  /// `pattern` cuts text into words; the default is GPT-2's.
  explicit BpeTrainer(const std::string& pattern = "");
  ~BpeTrainer();
  BpeTrainer(BpeTrainer&&) noexcept;

  /// Counts the words of a text (ill-formed UTF-8 makes words of its own).
  void add(std::string_view text);
  /// Throws usage when vocab_size has no room for the bytes and special tokens. The result has fewer tokens
  /// than asked for when the text runs out of frequent pairs.
  TrainedBpe train(const BpeTrainOptions& options) const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Writes tokenizer.json and tokenizer_config.json (Hugging Face) into `directory`, which is created. The
/// pattern is GPT-2's unless another one was trained with.
void save_tokenizer_json(const TrainedBpe& bpe, const std::string& directory,
                         const std::string& pattern = "");

}  // namespace octavo
