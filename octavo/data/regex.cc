// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <fmt/format.h>
#include <pcre2.h>

#include "octavo/base/error.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

// PCRE2 counts U+180E as white space, Unicode since 6.3 does not; so the class is spelled out.
constexpr const char* kWhiteSpace =
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}";

std::string spell_out_white_space(std::string_view pattern) {
  std::string result;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size()) {
      const char escaped = pattern[++i];
      if (escaped == 's') {
        result += in_class ? std::string(kWhiteSpace) : fmt::format("[{}]", kWhiteSpace);
      } else if (escaped == 'S' && !in_class) {
        result += fmt::format("[^{}]", kWhiteSpace);
      } else {
        result += {c, escaped};
      }
      continue;
    }
    if (c == '[') in_class = true;
    if (c == ']') in_class = false;
    result += c;
  }
  return result;
}

struct MatchData {
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  ~MatchData() { pcre2_match_data_free(data); }
};

}  // namespace

const char* const kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

Regex::Regex(std::string_view pattern, bool literal, const std::string& where) : where_(where) {
  if (pattern.size() > 1 << 16 || utf8_valid_prefix(pattern) != pattern.size())
    fail_data(where + ": a pattern must be UTF-8 of at most 65536 bytes");
  const std::string source = literal ? std::string(pattern) : spell_out_white_space(pattern);
  int code = 0;
  size_t offset = 0;
  const uint32_t flags = PCRE2_UTF | (literal ? PCRE2_LITERAL : PCRE2_UCP);
  pcre2_code* compiled = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(source.data()), source.size(), flags,
                                       &code, &offset, nullptr);
  if (!compiled) {
    PCRE2_UCHAR text[128] = {};
    pcre2_get_error_message(code, text, sizeof text);
    fail_data(fmt::format("{}: the pattern '{}' does not compile: {}", where, pattern,
                          reinterpret_cast<const char*>(text)));
  }
  pcre2_jit_compile(compiled, PCRE2_JIT_COMPLETE);  // where it is refused, matching interprets
  code_ = std::shared_ptr<void>(compiled, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
}

bool Regex::next(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  thread_local MatchData match;
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const auto* code = static_cast<const pcre2_code*>(code_.get());
  while (from < text.size()) {
    const uint32_t flags = PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY;
    int rc = pcre2_match(code, subject, text.size(), from, flags, match.data, nullptr);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
      rc = pcre2_match(code, subject, text.size(), from, flags | PCRE2_NO_JIT, match.data, nullptr);
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0)
      fail_data(
          fmt::format("{}: the pattern takes too many steps on this text (PCRE2 error {})", where_, rc));
    const size_t* span = pcre2_get_ovector_pointer(match.data);
    begin = span[0];
    end = span[1];
    if (end > begin && begin >= from) return true;
    from = std::max(end, from) + 1;  // \K can move a match's start past its end
    while (from < text.size() && (static_cast<uint8_t>(text[from]) & 0xC0) == 0x80) ++from;
  }
  return false;
}

}  // namespace octavo
