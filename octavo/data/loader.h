// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
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

/// How examples fill windows: as many whole ones as fit, or one.
enum class Packing { whole, single };
/// "whole" or "single"; throws usage on an unknown word.
Packing packing(const std::string& name);

/// Training samples as a pure function of (seed, sample index): nothing to save, any order, any thread, any
/// rank.
///
/// An epoch is samples_per_epoch() windows of seq_len + 1 tokens.
///
/// Of a source without marks they follow each other by seq_len. Not shuffled, window w begins at w * seq_len.
/// Shuffled, an epoch shifts all windows by a phase drawn from [0, seq_len), so that their boundaries move
/// from epoch to epoch, and visits them in a random order: window w begins at min(phase + w * seq_len,
/// tokens - seq_len - 1). So an epoch leaves out the first `phase` tokens, and its last window may overlap
/// the one before.
///
/// Of a marked source a window begins with an example and counts the targets of as many whole examples as
/// fit, in the order of the source (`single`: of this example alone); what follows in the source fills it up,
/// from the beginning again behind the last token, and counts for nothing. There is no padding. An example
/// longer than seq_len + 1 has a window of its own and is cut; a window without a target that counts is left
/// out. Windows are the same in each epoch, their order is drawn anew.
class SampleLoader {
 public:
  /// `source` must outlive the loader. Throws bad_data when it has fewer than seq_len + 1 tokens without
  /// marks, or nothing that counts with them.
  SampleLoader(const TokenSource& source, int64_t seq_len, uint64_t seed, bool shuffle,
               Packing packing = Packing::whole);

  /// floor((tokens - 1) / seq_len) without marks.
  uint64_t samples_per_epoch() const { return per_epoch_; }
  int64_t seq_len() const { return seq_len_; }
  /// First token of the window of sample `index`; its epoch is index / samples_per_epoch().
  int64_t window(uint64_t index) const;
  /// Targets of sample `index` that count; seq_len without marks.
  int64_t counted(uint64_t index) const;
  /// Sample `index`: inputs[seq_len] and, one token later, targets[seq_len], kNotCounted where they do not.
  void sample(uint64_t index, int32_t* inputs, int32_t* targets) const;
  /// Samples first, first + 1, ... as rows of [count, seq_len].
  void batch(uint64_t first, int64_t count, int32_t* inputs, int32_t* targets) const;

  /// Examples of a marked source: all, those longer than a window, and those of which nothing that counts is
  /// within it.
  struct Fit {
    int64_t examples = 0, cut = 0, lost = 0;
  };
  const Fit& fit() const { return fit_; }

 private:
  struct Window {
    int64_t begin;    // first token
    int32_t length;   // tokens of its own, at most seq_len + 1; what follows is filling
    int32_t counted;  // targets
  };
  void pack(Packing packing);
  void marked_sample(const Window& window, int32_t* inputs, int32_t* targets) const;
  uint64_t place(uint64_t index) const;

  const TokenSource& source_;
  int64_t seq_len_;
  uint64_t seed_;
  bool shuffle_;
  uint64_t per_epoch_;
  std::vector<Window> windows_;  // of a marked source
  Fit fit_;
};

}  // namespace octavo
