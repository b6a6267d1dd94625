// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/added_tokens.h"

#include <utf8proc.h>

#include <algorithm>

#include "octavo/data/utf8.h"

namespace octavo {
namespace {

bool is_white_space(uint32_t c) {
  return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_word(uint32_t c) {
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

// Start of the character that ends before `at`.
size_t previous(std::string_view text, size_t at) {
  do --at;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80);
  return at;
}

bool word_before(std::string_view text, size_t at) {
  if (at == 0) return false;
  const size_t start = previous(text, at);
  return is_word(utf8_decode(text, start, at - start));
}

bool word_after(std::string_view text, size_t at) {
  return at < text.size() && is_word(utf8_decode(text, at, utf8_length(text, at)));
}

}  // namespace

void AddedTokens::add(AddedToken token) {
  if (token.content.empty()) return;
  any_ = true;
  any_plain_ |= !token.special;
  auto& list = by_first_byte_[static_cast<uint8_t>(token.content[0])];
  const auto place = std::find_if(list.begin(), list.end(), [&](const AddedToken& other) {
    return other.content.size() < token.content.size();
  });
  list.insert(place, std::move(token));
}

const AddedToken* AddedTokens::match(std::string_view text, size_t at, bool parse_special) const {
  for (const AddedToken& token : by_first_byte_[static_cast<uint8_t>(text[at])])
    if ((parse_special || !token.special) && text.compare(at, token.content.size(), token.content) == 0)
      return &token;
  return nullptr;
}

void AddedTokens::split(std::string_view text, bool parse_special, const Sink& sink) const {
  size_t done = 0;
  if (any_ && (parse_special || any_plain_)) {
    for (size_t at = 0; at < text.size();) {
      const AddedToken* token = match(text, at, parse_special);
      if (!token) {
        ++at;
        continue;
      }
      size_t begin = at, end = at + token->content.size();
      if (token->single_word && (word_before(text, begin) || word_after(text, end))) {
        at = end;
        continue;
      }
      while (token->lstrip && begin > done) {
        const size_t start = previous(text, begin);
        if (!is_white_space(utf8_decode(text, start, begin - start))) break;
        begin = std::max(start, done);
      }
      while (token->rstrip && end < text.size()) {
        const size_t length = utf8_length(text, end);
        if (!is_white_space(utf8_decode(text, end, length))) break;
        end += length;
      }
      if (begin > done) sink(text.substr(done, begin - done), -1);
      sink({}, token->id);
      at = done = end;
    }
  }
  if (done < text.size()) sink(text.substr(done), -1);
}

}  // namespace octavo
