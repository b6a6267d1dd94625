// SPDX-License-Identifier: Apache-2.0
// The data of a comparison: a data set as it is, or a text that is prepared once.
#pragma once
#include <cstdint>
#include <functional>
#include <string>

namespace octavo {

/// The path for data.train. A directory or a file of tokens (.octok, .bin) is itself; any other file is text
/// or JSON Lines and becomes the data set `directory`/data with a tokenizer of `vocab_size` tokens, complete
/// or not at all. One that is there already is taken when it came from the same file (path and size) and
/// vocabulary size; else a usage error says what differs. Throws bad_data when `data` does not exist or, with
/// `needs_validation`, a data set has no validation split, without which there is nothing to compare.
std::string lab_data(const std::string& data, int32_t vocab_size, const std::string& directory,
                     const std::function<void(const char* stage, int64_t done, int64_t total)>& progress = {},
                     bool needs_validation = true);

}  // namespace octavo
