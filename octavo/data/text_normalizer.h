// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "octavo/data/regex.h"

namespace octavo {

/// What is done to text before it is cut into words: the "normalizer" of a tokenizer.json.
class TextNormalizer {
 public:
  enum class Form { nfc, nfd, nfkc, nfkd };
  void add_form(Form form);
  void add_prepend(std::string prefix);
  void add_replace(Regex pattern, std::string content);

  bool empty() const { return steps_.empty(); }
  /// `text` is well-formed UTF-8. `prepend` false leaves the prepending steps out: a piece that follows
  /// ill-formed bytes does not begin a text.
  std::string apply(std::string_view text, bool prepend) const;

 private:
  struct Step {
    enum class Kind { form, prepend, replace } kind;
    Form form = Form::nfc;
    std::string content;
    std::vector<Regex> pattern;  // one for replace, none otherwise
  };
  std::vector<Step> steps_;
};

}  // namespace octavo
