// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/classification.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "octavo/base/error.h"

namespace octavo {
namespace {

constexpr std::string_view kText = "{text}";

std::vector<std::string_view> fields_of(std::string_view line) {
  std::vector<std::string_view> fields;
  for (;;) {
    const size_t tab = line.find('\t');
    fields.push_back(line.substr(0, tab));
    if (tab == std::string_view::npos) return fields;
    line.remove_prefix(tab + 1);
  }
}

std::string_view trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \r"), end = text.find_last_not_of(" \r");
  return begin == std::string_view::npos ? std::string_view() : text.substr(begin, end - begin + 1);
}

size_t column(const std::vector<std::string_view>& header, const std::string& name,
              const std::string& source) {
  for (size_t i = 0; i < header.size(); ++i)
    if (trimmed(header[i]) == name) return i;
  fail_data(
      fmt::format("'{}:1' has no column '{}'; its header is {}", source, name, fmt::join(header, ", ")));
}

}  // namespace

std::vector<LabelledText> parse_labelled(std::string_view text, const std::string& source, int64_t classes,
                                         const std::string& text_column, const std::string& label_column) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<LabelledText> items;
  size_t columns = 0, text_at = 0, label_at = 0;
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::vector<std::string_view> fields = fields_of(line);
    if (number == 1) {
      columns = fields.size();
      text_at = column(fields, text_column, source);
      label_at = column(fields, label_column, source);
      continue;
    }
    if (trimmed(line).empty()) continue;
    LabelledText item;
    item.place = fmt::format("{}:{}", source, number);
    if (fields.size() != columns)
      fail_data(
          fmt::format("'{}' has {} tab-separated fields, its header {}", item.place, fields.size(), columns));
    item.text = trimmed(fields[text_at]);
    if (item.text.empty()) fail_data(fmt::format("'{}': column '{}' is empty", item.place, text_column));
    const std::string_view label = trimmed(fields[label_at]);
    const auto [rest, error] = std::from_chars(label.data(), label.data() + label.size(), item.label);
    if (error != std::errc() || rest != label.data() + label.size() || item.label < 0 ||
        item.label >= classes)
      fail_data(fmt::format("'{}': column '{}' must be a label from 0 to {}, found '{}'", item.place,
                            label_column, classes - 1, label.substr(0, 40)));
    items.push_back(std::move(item));
  }
  if (items.empty()) fail_data(fmt::format("'{}' holds no examples", source));
  return items;
}

std::string fill_prompt(const std::string& prompt, const std::string& text) {
  const size_t at = prompt.find(kText);
  if (at == std::string::npos || prompt.find(kText, at + 1) != std::string::npos)
    fail_usage(fmt::format("the prompt must have {} in it exactly once, found '{}'", kText, prompt));
  return prompt.substr(0, at) + text + prompt.substr(at + kText.size());
}

Example verbalize(const LabelledText& item, const Verbalization& how) {
  return {{{Piece::Kind::text, fill_prompt(how.prompt, item.text)},
           {Piece::Kind::text, how.verbalizers.at(static_cast<size_t>(item.label)), true},
           {Piece::Kind::end_of_text}},
          item.place};
}

}  // namespace octavo
