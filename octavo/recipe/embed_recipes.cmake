# SPDX-License-Identifier: Apache-2.0
# Writes the text of every recipe into one C++ table:
#   cmake -DRECIPES=<folder> -DOUT=<file.cc> -P embed_recipes.cmake
file(GLOB files ${RECIPES}/*.toml)
list(SORT files)
set(rows "")
foreach(path IN LISTS files)
  get_filename_component(name ${path} NAME_WE)
  file(READ ${path} text)
  string(APPEND rows "    {\"${name}\", R\"__recipe__(${text})__recipe__\"},\n")
endforeach()
set(code "// Written by embed_recipes.cmake from recipes/*.toml.
#include \"octavo/recipe/shipped.h\"

namespace octavo {
namespace {
constexpr ShippedRecipe kShipped[] = {
${rows}};
}  // namespace
std::span<const ShippedRecipe> shipped_recipes() { return kShipped; }
}  // namespace octavo
")
file(WRITE ${OUT} "${code}")
