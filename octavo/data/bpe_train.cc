// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/bpe_train.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <queue>
#include <unordered_map>

#include "octavo/base/error.h"
#include "octavo/data/regex.h"
#include "octavo/data/tokenizer.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

uint64_t pack(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

struct Word {
  std::vector<int32_t> ids;
  int64_t count = 0;
};

struct Pair {
  int64_t count = 0;
  std::vector<uint32_t> words;  // where it was seen; may name a word twice or one it has left since
};

struct QueueEntry {
  int64_t count;
  uint64_t pair;
  // On top: the largest count, then the smallest ids.
  bool operator<(const QueueEntry& other) const {
    return count != other.count ? count < other.count : pair > other.pair;
  }
};

class Learner {
 public:
  Learner(std::vector<Word> words, TrainedBpe& result) : words_(std::move(words)), result_(result) {
    for (size_t id = result.special_tokens.size(); id < result.tokens.size(); ++id)
      token_ids_.emplace(result.tokens[id], static_cast<int32_t>(id));
    for (uint32_t w = 0; w < words_.size(); ++w)
      for (size_t i = 0; i + 1 < words_[w].ids.size(); ++i)
        count(pack(words_[w].ids[i], words_[w].ids[i + 1]), w, words_[w].count);
    requeue();
  }

  // One merge; false when no pair is frequent enough.
  bool step(int64_t min_frequency) {
    while (!queue_.empty()) {
      const QueueEntry top = queue_.top();
      queue_.pop();
      Pair& pair = pairs_[top.pair];
      if (pair.count != top.count) {
        // Counts only fall between two visits (a rise queues the pair anew), so the entry goes back where it
        // belongs.
        if (pair.count > 0 && pair.count < top.count) queue_.push({pair.count, top.pair});
        continue;
      }
      if (top.count < std::max<int64_t>(1, min_frequency)) return false;
      merge(top.pair);
      return true;
    }
    return false;
  }

 private:
  void count(uint64_t key, uint32_t word, int64_t change) {
    Pair& pair = pairs_[key];
    pair.count += change;
    if (change > 0) {
      pair.words.push_back(word);
      risen_.push_back(key);
    }
  }

  // Queues every pair whose count has risen.
  void requeue() {
    std::sort(risen_.begin(), risen_.end());
    risen_.erase(std::unique(risen_.begin(), risen_.end()), risen_.end());
    for (const uint64_t key : risen_)
      if (const int64_t now = pairs_[key].count; now > 0) queue_.push({now, key});
    risen_.clear();
  }

  void merge(uint64_t key) {
    const auto left = static_cast<int32_t>(key >> 32), right = static_cast<int32_t>(key);
    std::string bytes = result_.tokens[left] + result_.tokens[right];
    const auto [entry, fresh] = token_ids_.emplace(bytes, static_cast<int32_t>(result_.tokens.size()));
    if (fresh) result_.tokens.push_back(std::move(bytes));
    result_.merges.emplace_back(left, right);
    std::vector<uint32_t> places = std::move(pairs_[key].words);
    std::sort(places.begin(), places.end());
    places.erase(std::unique(places.begin(), places.end()), places.end());
    for (const uint32_t place : places) rewrite(place, left, right, entry->second);
    pairs_.erase(key);
    requeue();
  }

  void rewrite(uint32_t place, int32_t left, int32_t right, int32_t joined) {
    std::vector<int32_t>& ids = words_[place].ids;
    const int64_t count_of_word = words_[place].count;
    size_t kept = 0;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (i + 1 == ids.size() || ids[i] != left || ids[i + 1] != right) {
        ids[kept++] = ids[i];
        continue;
      }
      if (kept > 0) {
        count(pack(ids[kept - 1], left), place, -count_of_word);
        count(pack(ids[kept - 1], joined), place, count_of_word);
      }
      if (i + 2 < ids.size()) {
        count(pack(right, ids[i + 2]), place, -count_of_word);
        count(pack(joined, ids[i + 2]), place, count_of_word);
      }
      ids[kept++] = joined;
      ++i;
    }
    ids.resize(kept);
  }

  std::vector<Word> words_;
  TrainedBpe& result_;
  TokenMap token_ids_;
  std::unordered_map<uint64_t, Pair> pairs_;
  std::vector<uint64_t> risen_;
  std::priority_queue<QueueEntry> queue_;
};

}  // namespace

struct BpeTrainer::State {
  Regex pattern;
  std::unordered_map<std::string, int64_t, StringHash, std::equal_to<>> counts;
  void add_word(std::string_view word) {
    const auto found = counts.find(word);
    if (found != counts.end()) {
      ++found->second;
    } else {
      counts.emplace(std::string(word), 1);
    }
  }
};

BpeTrainer::BpeTrainer(const std::string& pattern)
    : state_(new State{Regex(pattern.empty() ? kGpt2Pattern : pattern, false, "BPE training"), {}}) {}
BpeTrainer::~BpeTrainer() = default;
BpeTrainer::BpeTrainer(BpeTrainer&&) noexcept = default;

void BpeTrainer::add(std::string_view text) {
  split_ill_formed(text, [&](std::string_view piece, bool well_formed) {
    if (!well_formed) {
      state_->add_word(piece);
      return;
    }
    size_t done = 0, begin, end;
    while (state_->pattern.next(piece, done, begin, end)) {
      if (begin > done) state_->add_word(piece.substr(done, begin - done));
      state_->add_word(piece.substr(begin, end - begin));
      done = end;
    }
    if (done < piece.size()) state_->add_word(piece.substr(done));
  });
}

TrainedBpe BpeTrainer::train(const BpeTrainOptions& options) const {
  TrainedBpe result;
  for (const std::string& token : options.special_tokens)
    if (std::find(result.tokens.begin(), result.tokens.end(), token) == result.tokens.end())
      result.tokens.push_back(token);
  result.special_tokens = result.tokens;
  const auto base = static_cast<int32_t>(result.tokens.size());
  if (options.vocab_size < base + 256)
    fail_usage(fmt::format("vocab size {} is too small: {} special tokens and 256 bytes need {}",
                           options.vocab_size, base, base + 256));
  std::map<uint32_t, uint8_t> alphabet;  // by printable character
  for (int b = 0; b < 256; ++b)
    alphabet[byte_to_printable(static_cast<uint8_t>(b))] = static_cast<uint8_t>(b);
  std::vector<int32_t> byte_ids(256);
  for (const auto& [printable, byte] : alphabet) {
    byte_ids[byte] = static_cast<int32_t>(result.tokens.size());
    result.tokens.emplace_back(1, static_cast<char>(byte));
  }
  std::vector<Word> words;
  words.reserve(state_->counts.size());
  for (const auto& [text, count] : state_->counts) {
    Word word{{}, count};
    for (const char c : text) word.ids.push_back(byte_ids[static_cast<uint8_t>(c)]);
    words.push_back(std::move(word));
  }
  Learner learner(std::move(words), result);
  while (static_cast<int32_t>(result.tokens.size()) < options.vocab_size &&
         learner.step(options.min_frequency))
    if (options.progress) options.progress(static_cast<int32_t>(result.tokens.size()), options.vocab_size);
  return result;
}

}  // namespace octavo
