// SPDX-License-Identifier: Apache-2.0
#include <filesystem>
#include <utility>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/suggest.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {

const std::vector<std::pair<std::string, std::string>>& embedded_recipes();  // generated from recipes/*.toml

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
  if (!is_path) return parse_recipe(recipe_text(name_or_path), "recipes/" + name_or_path + ".toml");
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
