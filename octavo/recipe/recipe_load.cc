// SPDX-License-Identifier: Apache-2.0
#include <charconv>
#include <filesystem>
#include <optional>
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

Recipe load_recipe(const std::string& name_or_path) {
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
