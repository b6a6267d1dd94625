// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "octavo/base/file.h"
#include "octavo/data/shard.h"

namespace octavo {

/// A target that does not count; the number cross_entropy ignores.
inline constexpr int32_t kNotCounted = -100;

/// One or several shards, memory-mapped, as one sequence of tokens. Reading is thread-safe.
class TokenSource {
 public:
  /// Maps the files in this order and checks headers and sizes. Throws bad_data naming the file; also when
  /// shards come from different tokenizers, or some are marked and others not.
  explicit TokenSource(const std::vector<std::string>& paths);

  int64_t size() const { return size_; }
  /// Largest vocabulary a shard declares; 0 when none does.
  int64_t vocab_size() const { return vocab_size_; }
  /// Tokenizer::fingerprint() of the tokenizer, 0 when unknown.
  uint64_t tokenizer() const { return tokenizer_; }
  /// Sum of the bytes of text the shards declare; 0 when one does not.
  int64_t text_bytes() const { return text_bytes_; }
  /// Whether the tokens are examples with marks.
  bool marked() const { return shards_.front().header.marked; }
  size_t shards() const { return shards_.size(); }
  const ShardHeader& header(size_t shard) const { return shards_[shard].header; }
  const std::string& path(size_t shard) const { return shards_[shard].file.path(); }

  /// Promises that ids below `vocab_size` will do for the reader: shards below 1 GB are scanned now
  /// (checksums too), larger ones are checked as they are read. Throws bad_data naming shard and position of
  /// the first larger id.
  void require_vocabulary(int64_t vocab_size);

  /// Copies tokens [begin, begin + count), across shards, to `out`. Throws std::out_of_range outside [0,
  /// size()] (a bug of the caller), bad_data on an id that does not fit (see require_vocabulary).
  void tokens(int64_t begin, int64_t count, int32_t* out) const;
  /// Of a marked source: kCounts and kBegins of tokens [begin, begin + count). Throws like tokens().
  void marks(int64_t begin, int64_t count, uint8_t* out) const;

 private:
  struct Shard {
    MappedFile file;
    ShardHeader header;
    int64_t first = 0;     // position of its first token in the sequence
    bool scanned = false;  // every id is known to be below limit_
  };
  /// visit(shard, position in it, tokens there) for the parts of [begin, begin + count).
  template <class Visit>
  void each_part(int64_t begin, int64_t count, const Visit& visit) const;
  [[noreturn]] void fail_vocabulary(const Shard& shard, int64_t position, uint32_t id) const;
  std::vector<Shard> shards_;
  int64_t size_ = 0, vocab_size_ = 0, text_bytes_ = 0;
  uint64_t tokenizer_ = 0;
  int64_t limit_ = int64_t{1} << 31;
};

}  // namespace octavo
