// SPDX-License-Identifier: Apache-2.0
// Documents out of text and JSON Lines files.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// Files for a list of files, directories and globs (* and ? in the last part of a path). A directory stands
/// for every
/// *.txt, *.text, *.md, *.raw, *.jsonl and *.ndjson below it. Each argument's files are in alphabetic order;
/// a file named twice is taken once. Throws bad_data when an argument yields nothing.
std::vector<std::string> expand_inputs(const std::vector<std::string>& inputs);

/// Whether documents are lines: *.jsonl and *.ndjson.
bool is_json_lines(const std::string& path);

/// What is known of a file after reading it.
struct CorpusFile {
  std::string path;
  int64_t bytes = 0;       ///< size of the file
  int64_t text_bytes = 0;  ///< sum of the documents' sizes
  int64_t documents = 0;
  int64_t invalid_bytes = 0;  ///< bytes that are not well-formed UTF-8; kept as they are
};

/// Calls sink(document) for every non-empty document of one file: the value of `field` of each line of JSON
/// Lines; the whole of any other file (without a UTF-8 byte order mark). Throws bad_data naming the file (and
/// line): empty, NUL bytes (a binary file or UTF-16), more than a tenth ill-formed UTF-8, a line that is no
/// JSON object, lacks the field or has no string in it.
CorpusFile read_documents(const std::string& path, const std::string& field,
                          const std::function<void(std::string_view document)>& sink);

}  // namespace octavo
