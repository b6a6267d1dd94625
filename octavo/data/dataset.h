// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "octavo/data/shard.h"
#include "octavo/data/token_source.h"

namespace octavo {

/// One side of a data set.
struct DatasetSplit {
  int64_t tokens = 0;
  int64_t text_bytes =
      0;  ///< bytes of text the tokens stand for; nats per token * tokens / text_bytes / ln 2 = bits per byte
  int64_t documents = 0;            ///< a document cut in two counts on both sides
  int64_t counted = -1;             ///< targets that count, of marked tokens; -1: no marks, all count
  std::vector<std::string> shards;  ///< file names inside the directory
};

/// The content of dataset.json, which prepare() writes last into a directory of shards.
struct Dataset {
  std::string directory;
  ShardFormat format = ShardFormat::octavo;
  int64_t vocab_size = 0;
  uint64_t tokenizer_fingerprint = 0;
  bool has_tokenizer = true;  ///< the tokenizer's files are in the directory too
  DatasetSplit train, val;
  struct Source {
    std::string path;
    int64_t bytes = 0;
  };
  std::vector<Source> sources;
};

/// Reads directory/dataset.json. Throws bad_data naming file and key.
Dataset read_dataset(const std::string& directory);
/// Writes dataset.directory/dataset.json, complete or not at all.
void write_dataset(const Dataset& dataset);

/// Opens a split of a data set and checks that its shards hold the announced number of tokens. Throws
/// bad_data, also when the split is empty.
TokenSource open_split(const Dataset& dataset, const DatasetSplit& split);

}  // namespace octavo
