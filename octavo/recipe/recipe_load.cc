// SPDX-License-Identifier: Apache-2.0
#include <toml++/toml.h>

#include <charconv>
#include <filesystem>
#include <optional>
#include <sstream>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/suggest.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {

const std::vector<std::pair<std::string, std::string>>& embedded_recipes();  // generated from recipes/*.toml

namespace {

int parameter_value(const std::string& text, size_t from) {
  int value = 0;
  const char* last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data() + from, last, value);
  if (error != std::errc() || end != last)
    fail_usage("recipe '" + text + "': what follows the colon must be an integer, but is '" +
               text.substr(from) + "'");
  return value;
}

/// Sets `path` ("store.moment2.format") in `root`, with the tables on the way.
void set_at(toml::table& root, std::string_view path, const toml::node& value) {
  toml::table* table = &root;
  for (size_t dot = path.find('.'); dot != std::string_view::npos; dot = path.find('.')) {
    const std::string_view key = path.substr(0, dot);
    if (!table->contains(key) || !(*table)[key].is_table()) table->insert_or_assign(key, toml::table{});
    table = (*table)[key].as_table();
    path.remove_prefix(dot + 1);
  }
  table->insert_or_assign(path, value);
}

std::string changed(std::string_view text, const std::string& origin, const std::vector<std::string>& changes,
                    std::string name) {
  toml::table root;
  try {
    root = toml::parse(text, origin);
  } catch (const toml::parse_error&) {
    return std::string(text);  // the reader says what is wrong
  }
  for (const std::string& change : changes) {
    const size_t equals = change.find('=');
    if (equals == std::string::npos || equals == 0)
      fail_usage("'" + change +
                 "' does not change a recipe: expected path.key=value, for instance "
                 "store.moment2.format=e4m3");
    const std::string path = change.substr(0, change.find_last_not_of(' ', equals - 1) + 1);
    const auto parse = [&](const std::string& value) {
      set_at(root, path, *toml::parse("value = " + value).get("value"));
    };
    try {
      parse(change.substr(equals + 1));
    } catch (const toml::parse_error&) {
      try {
        std::ostringstream word;
        word << toml::value<std::string>(change.substr(equals + 1));
        parse(word.str());
      } catch (const toml::parse_error& error) {
        fail_usage("'" + change + "' does not change a recipe: " + std::string(error.description()));
      }
    }
  }
  root.insert_or_assign("name", name + ", changed");
  std::ostringstream out;
  out << root;
  return out.str();
}

}  // namespace

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : embedded_recipes()) names.push_back(name);
  return names;
}

std::string recipe_text(const std::string& name) {
  for (const auto& [known, text] : embedded_recipes())
    if (known == name) return text;
  fail_usage("unknown recipe '" + name + "'" + did_you_mean(name, recipe_names()));
}

Recipe load_recipe(const std::string& name_or_path, const std::vector<std::string>& changes) {
  if (!changes.empty()) {
    const Recipe plain = load_recipe(name_or_path);
    return parse_recipe(changed(to_toml(plain), name_or_path, changes, plain.name),
                        name_or_path + " with its changes");
  }
  const bool is_path = name_or_path.ends_with(".toml") || name_or_path.find('/') != std::string::npos;
  if (!is_path) {
    const size_t colon = name_or_path.find(':');
    const std::string name = name_or_path.substr(0, colon);
    const std::string text = recipe_text(name);  // an unknown name is named before its value
    std::optional<int> value;
    if (colon != std::string::npos) value = parameter_value(name_or_path, colon + 1);
    return parse_recipe(text, "recipes/" + name + ".toml", value);
  }
  std::error_code none;
  if (!std::filesystem::exists(name_or_path, none))
    fail_usage("there is no recipe file '" + name_or_path + "'");
  if (!std::filesystem::is_regular_file(name_or_path, none))
    fail_usage("'" + name_or_path + "' is not a file");
  if (std::filesystem::file_size(name_or_path, none) > kLargestRecipe)
    fail_usage("'" + name_or_path + "' is larger than a recipe can be (" + std::to_string(kLargestRecipe) +
               " bytes)");
  return parse_recipe(read_file(name_or_path), name_or_path);
}

}  // namespace octavo
