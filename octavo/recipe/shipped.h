// SPDX-License-Identifier: Apache-2.0
// The recipes inside the program; the definition is generated from recipes/*.toml when it is built.
#pragma once
#include <span>
#include <string_view>

namespace octavo {

struct ShippedRecipe {
  std::string_view name;  ///< the file's stem
  std::string_view text;
};

/// Sorted by file name.
std::span<const ShippedRecipe> shipped_recipes();

}  // namespace octavo
