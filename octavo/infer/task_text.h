// SPDX-License-Identifier: Apache-2.0
// Small rules for text that the evaluation tasks share with lm-evaluation-harness, which is written in
// Python.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// Without the white space at the end, or at both ends. White space is what Python's str.strip() takes,
/// Unicode spaces included.
std::string_view strip_end(std::string_view text);
std::string_view strip(std::string_view text);

/// Code points; an ill-formed byte counts as one.
int64_t count_characters(std::string_view text);

/// Stretches without white space.
int64_t count_words(std::string_view text);

/// The first character in upper case, the others in lower case; other alphabets than ASCII are left as they
/// are.
std::string capitalize(std::string_view text);

/// HellaSwag's WikiHow part carries markup: " [title]" becomes ". ", any other [...] on one line goes, then
/// double spaces become single ones (one pass). White space at the ends goes first.
std::string clean_hellaswag(std::string_view text);

/// One record of a CSV file (RFC 4180) and the line it begins on.
struct CsvRecord {
  std::vector<std::string> fields;
  int64_t line = 0;
};

/// All records; quoted fields may hold commas, doubled quotes and line ends. Empty lines are skipped. Throws
/// bad_data with `source` and line for a quote that is never closed or stands inside a bare field.
std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& source);

}  // namespace octavo
