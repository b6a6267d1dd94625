// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/tokenizer.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

constexpr const char* kReplacement = "\xEF\xBF\xBD";

// Well-formed parts as they are, each ill-formed byte as U+FFFD.
std::string repaired(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const size_t valid = utf8_valid_prefix(text);
    result.append(text.substr(0, valid));
    text.remove_prefix(valid);
    if (!text.empty()) {
      result += kReplacement;
      text.remove_prefix(1);
    }
  }
  return result;
}

}  // namespace

TokenStream::TokenStream(const Tokenizer& tokenizer, bool at_start, bool skip_special)
    : tokenizer_(tokenizer),
      to_strip_(at_start ? tokenizer.stripped_spaces() : 0),
      skip_special_(skip_special) {}

std::string TokenStream::push(int32_t id) {
  std::string_view bytes = tokenizer_.token_bytes(id);
  if (skip_special_ && tokenizer_.is_special(id)) return "";
  for (; to_strip_ > 0 && !bytes.empty(); --to_strip_) {
    if (bytes.front() != ' ') {
      to_strip_ = 0;
      break;
    }
    bytes.remove_prefix(1);
  }
  pending_ += bytes;
  const size_t tail = utf8_incomplete_tail(pending_);
  std::string result = repaired(std::string_view(pending_).substr(0, pending_.size() - tail));
  pending_.erase(0, pending_.size() - tail);
  return result;
}

std::string TokenStream::finish() {
  // What is left is the start of one character: one sign for it, not one for each byte.
  const bool incomplete = !pending_.empty();
  pending_.clear();
  return incomplete ? kReplacement : "";
}

}  // namespace octavo
