// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/toml_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "octavo/base/error.h"

namespace octavo {
namespace {

std::string found(const toml::node& node) {
  if (const auto* v = node.as_string()) {
    const std::string& text = v->get();
    return "the string \"" + (text.size() > 60 ? text.substr(0, 60) + "..." : text) + "\"";
  }
  if (const auto* v = node.as_integer()) return fmt::format("the integer {}", v->get());
  if (const auto* v = node.as_floating_point()) return fmt::format("the number {}", v->get());
  if (const auto* v = node.as_boolean()) return v->get() ? "true" : "false";
  if (node.is_array()) return "a list";
  if (node.is_table()) return "a table";
  return "a date or time";
}

}  // namespace

std::string TableReader::key_path(std::string_view key) const {
  return path_.empty() ? std::string(key) : path_ + "." + std::string(key);
}

void TableReader::fail(std::string_view key, const std::string& message) const {
  int at = line();
  for (const auto& [name, node] : table_)
    if (name.str() == key) at = static_cast<int>(name.source().begin.line);
  fail_usage(at > 0 ? fmt::format("{}:{}: {}", origin_, at, message)
                    : fmt::format("{}: {}", origin_, message));
}

void TableReader::fail_type(std::string_view key, const toml::node& node, std::string_view expected) const {
  fail(key, fmt::format("'{}' must be {}, but is {}", key_path(key), expected, found(node)));
}

const toml::node* TableReader::find(std::string_view key) {
  asked_.emplace_back(key);
  return table_.get(key);
}

std::optional<std::string> TableReader::string(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (const auto* value = node->as_string()) return value->get();
  fail_type(key, *node, "a string");
}

std::optional<bool> TableReader::boolean(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (const auto* value = node->as_boolean()) return value->get();
  fail_type(key, *node, "true or false");
}

std::optional<int> TableReader::integer(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (const auto* value = node->as_integer()) {
    const int64_t wide = value->get();
    if (wide < std::numeric_limits<int>::min() || wide > std::numeric_limits<int>::max())
      fail(key, fmt::format("'{}' is {}, which is out of range", key_path(key), wide));
    return static_cast<int>(wide);
  }
  fail_type(key, *node, "an integer");
}

std::optional<double> TableReader::number(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  if (const auto* value = node->as_floating_point()) return value->get();
  if (const auto* value = node->as_integer()) return static_cast<double>(value->get());
  fail_type(key, *node, "a number");
}

std::optional<std::vector<std::string>> TableReader::strings(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  const toml::array* list = node->as_array();
  if (!list) fail_type(key, *node, "a list of strings");
  std::vector<std::string> values;
  for (const toml::node& item : *list) {
    const auto* value = item.as_string();
    if (!value)
      fail(key, fmt::format("'{}' must be a list of strings, but holds {}", key_path(key), found(item)));
    values.push_back(value->get());
  }
  return values;
}

std::optional<TableReader> TableReader::table(std::string_view key) {
  const toml::node* node = find(key);
  if (!node) return std::nullopt;
  const toml::table* inner = node->as_table();
  if (!inner) fail_type(key, *node, "a table");
  return TableReader(*inner, origin_, key_path(key));
}

void TableReader::finish() {
  for (const auto& [key, node] : table_) {
    if (std::find(asked_.begin(), asked_.end(), key.str()) != asked_.end()) continue;
    fail(key.str(), fmt::format("unknown key '{}'{}", key_path(key.str()), did_you_mean(key.str(), asked_)));
  }
}

}  // namespace octavo
