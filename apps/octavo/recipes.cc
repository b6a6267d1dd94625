// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {

void add_recipes(CLI::App& app) {
  CLI::App* c =
      app.add_subcommand("recipes", "List the numeric recipes, or show what one does to every tensor");
  c->require_subcommand(0, 1);
  c->footer(
      "Examples:\n  octavo recipes\n  octavo recipes show fp8-amax\n  octavo recipes show fp8-amax --toml > "
      "mine.toml");
  auto name = std::make_shared<std::string>();
  auto toml = std::make_shared<bool>(false);
  CLI::App* show = c->add_subcommand("show", "Describe a recipe: roles, paper, deviations");
  show->add_option("name", *name, "Recipe, or a .toml file")->required();
  show->add_flag("--toml", *toml, "Print it as a recipe file");
  show->callback([name, toml] {
    const Recipe recipe = load_recipe(*name);
    fmt::print("{}", *toml ? to_toml(recipe) : describe(recipe));
  });
  c->callback([c] {
    if (!c->get_subcommands().empty()) return;
    for (const std::string& known : recipe_names()) {
      const Recipe recipe = load_recipe(known);
      fmt::print("{:<16} {}{}\n", known, recipe.description,
                 unsupported(recipe).empty() ? "" : "  (cannot run yet)");
    }
  });
}

}  // namespace octavo
