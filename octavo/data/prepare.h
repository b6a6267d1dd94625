// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "octavo/data/dataset.h"

namespace octavo {

struct PrepareOptions {
  std::vector<std::string> inputs = {};  ///< files, directories, globs; see expand_inputs
  std::string field = "text";            ///< of JSON Lines
  std::string tokenizer = {};            ///< file or directory; "" trains one
  int32_t vocab_size = 4096;             ///< of the trained one
  std::string out = {};                  ///< directory, created
  double val_fraction = 0.05;            ///< of the bytes of text, [0, 1); 0: no validation split
  ShardFormat format = ShardFormat::octavo;
  int64_t shard_tokens = 100'000'000;
  bool parse_special = false;  ///< special tokens written out in the text become tokens
  /// stage is "scan", "train tokenizer" (in tokens of the vocabulary) or "tokenize" (else in bytes of text).
  std::function<void(const char* stage, int64_t done, int64_t total)> progress = {};
};

struct PrepareResult {
  Dataset dataset;
  int64_t invalid_bytes = 0;  ///< bytes of the inputs that are no UTF-8; kept as they are
  bool fewer_tokens =
      false;  ///< the text ran out of frequent pairs: the trained vocabulary is smaller than asked for
};

/// Text to shards: trains a byte-level BPE (on the training split alone) or loads a tokenizer, cuts the
/// corpus in two, writes train_000000.*, val_000000.*, ..., the tokenizer's files and, last, dataset.json
/// into options.out.
///
/// The validation split is the end of the corpus, about val_fraction of its bytes. It begins with a document
/// of JSON Lines, or at a line of the text file that spans the cut. Each document (or part of one) is: BOS
/// where the tokenizer says so, its tokens, EOS where there is one. Throws usage (contradicting options),
/// bad_data (unreadable text, or a corpus too short to split).
PrepareResult prepare(const PrepareOptions& options);

}  // namespace octavo
