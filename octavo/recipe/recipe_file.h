// SPDX-License-Identifier: Apache-2.0
// Recipes as text: reading, checking, writing, and the recipes that ship inside the program.
#pragma once
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/recipe/recipe.h"

namespace octavo {

/// Bytes of the largest file that is read.
inline constexpr size_t kLargestRecipe = 1 << 20;

/// Reads TOML. `origin` (a path) starts every message: "origin:12: ...". Any unknown key, word or path, wrong
/// type or meaningless combination is a usage error that names the key and the nearest known one. Without a
/// `name` in the text the recipe is called by the stem of `origin`.
/// `value`, when given, replaces the integer of the key the text declares as its `parameter`, and joins the
/// name: "fp8-cscale:5".
Recipe parse_recipe(std::string_view text, const std::string& origin, std::optional<int> value = {});

/// A shipped recipe by name or NAME:VALUE ("fp8-cscale:5"), or a file when `name_or_path` ends in ".toml" or
/// contains a slash. `changes` are "path.key=value" over what the file says ("store.moment2.format=e4m3");
/// the value is TOML, or a bare word taken as a string. A changed recipe is called "NAME, changed".
Recipe load_recipe(const std::string& name_or_path, const std::vector<std::string>& changes = {});

/// The shipped recipes, sorted.
std::vector<std::string> recipe_names();
/// The file of a shipped recipe as it stands in recipes/. An unknown name is a usage error.
std::string recipe_text(const std::string& name);

/// Canonical TOML of what is written in the recipe: parse_recipe(to_toml(r), ...) == r.
std::string to_toml(const Recipe& recipe);

/// For people: what each role resolves to, the rest, the paper, the deviations, what cannot run yet.
std::string describe(const Recipe& recipe);

/// What does not make sense in any engine, and the path that says it. Called by parse_recipe().
struct RecipeProblem {
  std::optional<Role> role;
  std::string message;
};
std::vector<RecipeProblem> check_recipe(const Recipe& recipe);

/// Why this engine cannot run a (sensible) recipe, one sentence each; empty when it can. The only place that
/// knows.
std::vector<std::string> unsupported(const Recipe& recipe);

}  // namespace octavo
