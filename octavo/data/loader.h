// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <vector>

#include "octavo/data/token_source.h"

namespace octavo {

/// A permutation of 0..size-1 without a table: a Feistel network over the next even power of two whose round
/// function is Philox keyed by (key, stream), walked along its cycle until it lands inside (Black and Rogaway
/// 2002).
class IndexPermutation {
 public:
  IndexPermutation(uint64_t size, uint64_t key, uint64_t stream);
  /// Where index (< size) goes.
  uint64_t operator()(uint64_t index) const;

 private:
  uint64_t size_, key_, stream_;
  int half_bits_;
};

/// Training samples as a pure function of (seed, sample index): nothing to save, any order, any thread, any
/// rank.
///
/// An epoch is samples_per_epoch() windows of seq_len + 1 tokens that follow each other by seq_len. Not
/// shuffled, window w begins at w * seq_len. Shuffled, an epoch shifts all windows by a phase drawn from [0,
/// seq_len), so that their boundaries move from epoch to epoch, and visits them in a random order: window w
/// begins at min(phase + w * seq_len, tokens - seq_len - 1). So an epoch leaves out the first `phase` tokens,
/// and its last window may overlap the one before.
class SampleLoader {
 public:
  /// `source` must outlive the loader. Throws bad_data when it has fewer than seq_len + 1 tokens.
  SampleLoader(const TokenSource& source, int64_t seq_len, uint64_t seed, bool shuffle);

  /// floor((tokens - 1) / seq_len)
  uint64_t samples_per_epoch() const { return per_epoch_; }
  int64_t seq_len() const { return seq_len_; }
  /// First token of the window of sample `index`; its epoch is index / samples_per_epoch().
  int64_t window(uint64_t index) const;
  /// Sample `index`: inputs[seq_len] and, one token later, targets[seq_len].
  void sample(uint64_t index, int32_t* inputs, int32_t* targets) const;
  /// Samples first, first + 1, ... as rows of [count, seq_len].
  void batch(uint64_t first, int64_t count, int32_t* inputs, int32_t* targets) const;

 private:
  const TokenSource& source_;
  int64_t seq_len_;
  uint64_t seed_;
  bool shuffle_;
  uint64_t per_epoch_;
};

}  // namespace octavo
