// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// A token that is cut out of the text before anything else looks at it.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool special = false;
  bool lstrip = false;       ///< takes the white space before it along
  bool rstrip = false;       ///< takes the white space after it along
  bool single_word = false;  ///< only where no word character touches it
};

/// Finds added tokens, leftmost first and longest first, as Hugging Face tokenizers do.
class AddedTokens {
 public:
  void add(AddedToken token);

  /// Calls sink(piece, -1) for text and sink("", id) for tokens, in order; empty pieces are left out. Special
  /// tokens are text unless `parse_special`.
  using Sink = std::function<void(std::string_view piece, int32_t id)>;
  void split(std::string_view text, bool parse_special, const Sink& sink) const;

  /// The longest token at text[at], or nullptr.
  const AddedToken* match(std::string_view text, size_t at, bool parse_special) const;

 private:
  std::array<std::vector<AddedToken>, 256> by_first_byte_;  // longest first
  bool any_ = false, any_plain_ = false;
};

}  // namespace octavo
