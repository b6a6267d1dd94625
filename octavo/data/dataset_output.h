// SPDX-License-Identifier: Apache-2.0
// For the .cc files of this room only: writing a data set directory, whatever its tokens come from.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "octavo/data/dataset.h"
#include "octavo/data/tokenizer.h"

namespace octavo {

/// Collects tokens and writes a shard whenever enough are there.
class ShardWriter {
 public:
  /// Shards go to directory/<stem>_000000.*, their names and sums into `split`, which must outlive this.
  ShardWriter(const std::string& directory, const ShardHeader& header, const std::string& stem,
              int64_t shard_tokens, DatasetSplit& split);

  std::vector<int32_t>& pending() { return pending_; }
  /// With header.marked: kept as long as pending().
  std::vector<uint8_t>& pending_marks() { return marks_; }

  /// After pending() grew by the tokens of a text of `bytes`.
  void document_done(int64_t bytes);
  void finish();

 private:
  void write(size_t begin, size_t count);

  std::string directory_;
  ShardHeader header_;
  std::string stem_;
  size_t limit_;
  DatasetSplit& split_;
  std::vector<int32_t> pending_;
  std::vector<uint8_t> marks_;
};

/// The directory a data set is written into. A data set that is there already may be written over; its
/// manifest goes first, so that an interrupted writer leaves no data set rather than a wrong one.
class DatasetOutput {
 public:
  /// Creates the directory. Throws bad_data when it cannot be created.
  explicit DatasetOutput(const std::string& directory);

  /// Removes the tokenizer an earlier data set left, which might be preferred to the new one when it is
  /// loaded; throws usage when somebody else put one there. Files that are the same as one of `keep` stay.
  void clear_tokenizer(const std::vector<std::string>& keep) const;
  /// Copies a tokenizer's files, under the names a directory is searched for.
  void copy_tokenizer(const std::string& tokenizer) const;
  void remove_manifest() const;

 private:
  std::string directory_;
  bool rewriting_ = false;
};

}  // namespace octavo
