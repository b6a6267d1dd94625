// SPDX-License-Identifier: Apache-2.0
// One table of a TOML file, read strictly: what is asked for must have the right type, and what is never
// asked for is an unknown key.
#pragma once
#include <toml++/toml.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/base/suggest.h"
#include "octavo/recipe/words.h"

namespace octavo {

class TableReader {
 public:
  /// `path` is the table's dotted path, "" for the file.
  TableReader(const toml::table& table, std::string origin, std::string path)
      : table_(table), origin_(std::move(origin)), path_(std::move(path)) {}

  const std::string& path() const { return path_; }
  int line() const { return static_cast<int>(table_.source().begin.line); }
  std::string key_path(std::string_view key) const;

  std::optional<std::string> string(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<int> integer(std::string_view key);
  std::optional<double> number(std::string_view key);  ///< an integer is accepted
  std::optional<std::vector<std::string>> strings(std::string_view key);
  std::optional<TableReader> table(std::string_view key);

  template <class E>
  std::optional<E> word(std::string_view key) {
    const std::optional<std::string> text = string(key);
    if (!text) return std::nullopt;
    std::vector<std::string> known;
    for (const auto& w : words<E>()) {
      if (w.text == *text) return w.value;
      known.emplace_back(w.text);
    }
    fail(key, "'" + key_path(key) + "' cannot be '" + *text + "'" + did_you_mean(*text, known));
  }

  /// Fails on the first key nobody asked for.
  void finish();

  /// "origin:line: message" with the line of `key` (of the table when there is no such key).
  [[noreturn]] void fail(std::string_view key, const std::string& message) const;

 private:
  const toml::node* find(std::string_view key);
  [[noreturn]] void fail_type(std::string_view key, const toml::node& node, std::string_view expected) const;

  const toml::table& table_;
  std::string origin_, path_;
  std::vector<std::string> asked_;
};

}  // namespace octavo
