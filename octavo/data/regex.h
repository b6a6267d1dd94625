// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace octavo {

/// A Unicode pattern, compiled to machine code. `\s` means the White_Space property, as in the engine
/// tokenizer.json files are written for. Copies share the compiled code; matching is thread-safe.
class Regex {
 public:
  /// `literal`: the pattern is a plain string. Throws bad_data naming `where` on a pattern that does not
  /// compile.
  Regex(std::string_view pattern, bool literal, const std::string& where);

  /// The first non-empty match at or after byte `from` of well-formed UTF-8: [begin, end). Throws bad_data
  /// when the pattern needs an unreasonable number of steps.
  bool next(std::string_view text, size_t from, size_t& begin, size_t& end) const;

 private:
  std::shared_ptr<void> code_;
  std::string where_;
};

/// GPT-2's word pattern (contractions; letters, digits or other signs with one space before them; runs of
/// white space).
extern const char* const kGpt2Pattern;

}  // namespace octavo
