// SPDX-License-Identifier: Apache-2.0
// The merge loop every BPE flavour shares: adjacent symbols are joined, best pair first, leftmost among
// equals.
#pragma once
#include <algorithm>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "octavo/data/tokenizer.h"

namespace octavo {

/// A stretch of a word. `next`/`prev` link the symbols that are still there; -1 ends.
struct Symbol {
  uint32_t begin = 0, length = 0;
  int32_t id = -1;
  int32_t prev = -1, next = -1;
  bool frozen = false;  ///< never joined with a neighbour
};

/// What a lookup says about joining two symbols; the smallest cost goes first.
struct Join {
  double cost = 0;
  int32_t id = -1;  ///< the joined token, -1 = these two do not join
};

/// Joins until nothing joins, O(n log n). Symbols that were swallowed keep length 0; survivors are linked
/// from symbol 0.
template <class Lookup>
void merge_symbols(std::vector<Symbol>& symbols, const Lookup& lookup) {
  struct Candidate {
    double cost;
    int32_t left, right, id;
    uint32_t length;
    // std::push_heap keeps the largest on top, so "less" means "later".
    bool operator<(const Candidate& other) const {
      return cost != other.cost ? cost > other.cost : left > other.left;
    }
  };
  thread_local std::vector<Candidate> heap;
  heap.clear();
  const auto consider = [&](int32_t left, int32_t right) {
    if (left < 0 || right < 0 || symbols[left].frozen || symbols[right].frozen) return;
    const Join join = lookup(symbols[left], symbols[right]);
    if (join.id < 0) return;
    heap.push_back({join.cost, left, right, join.id, symbols[left].length + symbols[right].length});
    std::push_heap(heap.begin(), heap.end());
  };
  const int32_t count = static_cast<int32_t>(symbols.size());
  for (int32_t i = 0; i < count; ++i) {
    symbols[i].prev = i - 1;
    symbols[i].next = i + 1 < count ? i + 1 : -1;
  }
  for (int32_t i = 0; i + 1 < count; ++i) consider(i, i + 1);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    const Candidate best = heap.back();
    heap.pop_back();
    Symbol& left = symbols[best.left];
    Symbol& right = symbols[best.right];
    // A candidate is stale when either side has changed since: swallowed (length 0) or grown.
    if (left.length == 0 || right.length == 0 || left.next != best.right ||
        left.length + right.length != best.length)
      continue;
    left.length += right.length;
    left.id = best.id;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].prev = best.left;
    right.length = 0;
    consider(left.prev, best.left);
    consider(best.left, left.next);
  }
}

/// Merge rules by pair of ids: an open-addressing table, since it is asked twice for every join.
class MergeTable {
 public:
  /// Room for `count` rules.
  void reserve(size_t count);
  /// A later rule for the same pair replaces the earlier one.
  void add(int32_t left, int32_t right, int32_t rank, int32_t result);
  Join find(int32_t left, int32_t right) const;

 private:
  struct Slot {
    uint64_t key = kEmpty;
    int32_t rank = 0, result = 0;
  };
  static constexpr uint64_t kEmpty = ~uint64_t{0};
  size_t slot_of(uint64_t key) const;
  std::vector<Slot> slots_;
  size_t used_ = 0;
};

/// Ids of words seen before. Bounded: it starts over when full.
class WordCache {
 public:
  /// Words longer than this are not worth a place.
  static constexpr size_t kMaxWord = 64;
  const std::vector<int32_t>* find(std::string_view word) const {
    const auto found = words_.find(word);
    return found == words_.end() ? nullptr : &found->second;
  }
  void add(std::string_view word, const int32_t* ids, size_t count) {
    if (words_.size() >= kMaxEntries) words_.clear();
    words_.emplace(std::string(word), std::vector<int32_t>(ids, ids + count));
  }

 private:
  static constexpr size_t kMaxEntries = 1 << 16;
  std::unordered_map<std::string, std::vector<int32_t>, StringHash, std::equal_to<>> words_;
};

/// Warm working space. Each call borrows one for itself, so calls from several threads do not wait for each
/// other.
struct BpeScratch {
  WordCache cache;
  std::vector<Symbol> symbols;
};

class ScratchPool {
 public:
  class Lease {
   public:
    explicit Lease(ScratchPool& pool) : pool_(pool), scratch_(pool.take()) {}
    ~Lease() { pool_.give_back(std::move(scratch_)); }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    BpeScratch& operator*() { return *scratch_; }

   private:
    ScratchPool& pool_;
    std::unique_ptr<BpeScratch> scratch_;
  };

 private:
  std::unique_ptr<BpeScratch> take();
  void give_back(std::unique_ptr<BpeScratch> scratch);
  std::mutex mutex_;
  std::vector<std::unique_ptr<BpeScratch>> idle_;
};

/// Whether no token has U+2581 right after another character. Joins then never reach across the start of a
/// word, so text can be cut there and words cached without changing a single id.
bool words_begin_at_metaspace(const std::vector<std::string>& tokens);

/// Calls sink(word) for the stretches of `text` that begin with a run of U+2581 (or the start).
template <class Sink>
void split_metaspace_words(std::string_view text, const Sink& sink) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  size_t begin = 0, at = 0;
  while (begin < text.size()) {
    while (text.compare(at, kMark.size(), kMark) == 0) at += kMark.size();
    const size_t end = std::min(text.find(kMark, at), text.size());
    sink(text.substr(begin, end - begin));
    begin = at = end;
  }
}

}  // namespace octavo
