// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/task_text.h"

#include <fmt/format.h>

#include <algorithm>

#include "octavo/base/error.h"
#include "octavo/data/utf8.h"

namespace octavo {
namespace {

bool is_space(uint32_t c) {
  return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f ||
         c == 0x3000;
}

/// Bytes of the character at `at`, at least 1.
size_t character(std::string_view text, size_t at) { return std::max<size_t>(1, utf8_length(text, at)); }

bool space_at(std::string_view text, size_t at) {
  const size_t length = utf8_length(text, at);
  return length > 0 && is_space(utf8_decode(text, at, length));
}

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
}

}  // namespace

std::string_view strip_end(std::string_view text) {
  size_t end = 0;
  for (size_t at = 0; at < text.size(); at += character(text, at))
    if (!space_at(text, at)) end = at + character(text, at);
  return text.substr(0, end);
}

std::string_view strip(std::string_view text) {
  while (!text.empty() && space_at(text, 0)) text.remove_prefix(character(text, 0));
  return strip_end(text);
}

int64_t count_characters(std::string_view text) {
  int64_t count = 0;
  for (size_t at = 0; at < text.size(); at += character(text, at)) ++count;
  return count;
}

int64_t count_words(std::string_view text) {
  int64_t count = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size(); at += character(text, at)) {
    const bool space = space_at(text, at);
    count += !space && !inside;
    inside = !space;
  }
  return count;
}

std::string capitalize(std::string_view text) {
  std::string out(text);
  for (size_t i = 0; i < out.size(); ++i) {
    char& c = out[i];
    if (i == 0 && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    if (i > 0 && c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string clean_hellaswag(std::string_view text) {
  std::string out(strip(text));
  replace_all(out, " [title]", ". ");
  for (size_t open = 0; (open = out.find('[', open)) != std::string::npos;) {
    const size_t close = out.find(']', open), line = out.find('\n', open);
    if (close == std::string::npos) break;
    if (line < close)
      ++open;  // the brackets must close on the same line
    else
      out.erase(open, close - open + 1);
  }
  replace_all(out, "  ", " ");
  return out;
}

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& source) {
  std::vector<CsvRecord> records;
  int64_t line = 1;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  size_t at = 0;
  while (at < text.size()) {
    CsvRecord record;
    record.line = line;
    for (bool more = true; more;) {
      std::string& field = record.fields.emplace_back();
      if (at < text.size() && text[at] == '"') {
        const int64_t opened = line;
        for (++at;; ++at) {
          if (at == text.size()) fail_data(fmt::format("{}:{}: a quote is never closed", source, opened));
          if (text[at] == '\n') ++line;
          if (text[at] != '"') {
            field += text[at];
          } else if (at + 1 < text.size() && text[at + 1] == '"') {
            field += text[at++];
          } else {
            break;
          }
        }
        ++at;
      } else {
        while (at < text.size() && text[at] != ',' && text[at] != '\n' && text[at] != '\r') {
          if (text[at] == '"')
            fail_data(
                fmt::format("{}:{}: a quote inside a field that does not begin with one", source, line));
          field += text[at++];
        }
      }
      more = at < text.size() && text[at] == ',';
      if (more) ++at;
    }
    if (at < text.size() && text[at] == '\r') ++at;
    if (at < text.size()) {
      if (text[at] != '\n')
        fail_data(fmt::format("{}:{}: expected a comma or the end of the line after a closing quote", source,
                              line));
      ++at;
      ++line;
    }
    if (record.fields.size() > 1 || !record.fields[0].empty()) records.push_back(std::move(record));
  }
  return records;
}

}  // namespace octavo
