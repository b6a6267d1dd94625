// SPDX-License-Identifier: Apache-2.0
#include <string_view>

#include "fuzz_input.h"
#include "octavo/recipe/recipe_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace octavo;
  return expect_an_answer([&] {
    const Recipe recipe = parse_recipe({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
    unsupported(recipe);
    describe(recipe);
    // What was read can be written, and means the same.
    if (!(parse_recipe(to_toml(recipe), "fuzz.toml") == recipe)) std::abort();
  });
}
