// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/data/regex.h"

namespace octavo {

/// Cuts text into the words BPE works within: the "pre_tokenizer" of a tokenizer.json, a chain of stages.
class PreTokenizer {
 public:
  /// What becomes of the text a pattern matched.
  enum class Behavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };
  enum class Prepend { never, first, always };

  /// Cuts at the matches of a pattern; `invert` swaps matches and what is between them.
  void add_split(Regex pattern, Behavior behavior, bool invert);
  /// A space before text that does not begin with one (ByteLevel's add_prefix_space).
  void add_prefix_space();
  /// Spaces become `replacement`, maybe one goes in front, and words begin at it where `split`.
  void add_metaspace(std::string replacement, Prepend prepend, bool split);

  bool empty() const { return stages_.empty(); }

  /// Where a piece stands: at byte 0 of the text; and whether something may be put before it (false after
  /// ill-formed bytes, where the text goes on).
  struct Place {
    bool at_start = true;
    bool may_prepend = true;
  };
  using Sink = std::function<void(std::string_view word)>;
  /// Calls sink for every word in order. `text` is well-formed UTF-8; words are valid during the call only.
  void split(std::string_view text, Place place, const Sink& sink) const;

 private:
  struct Stage {
    enum class Kind { split, prefix_space, metaspace } kind;
    std::vector<Regex> pattern;  // one where the stage cuts
    Behavior behavior = Behavior::isolated;
    bool invert = false;
    std::string replacement;
    Prepend prepend = Prepend::never;
  };
  void run(size_t stage, std::string_view piece, Place place, const Sink& sink) const;
  void cut(size_t stage, std::string_view piece, Place place, const Sink& sink) const;
  std::vector<Stage> stages_;
};

}  // namespace octavo
