// SPDX-License-Identifier: Apache-2.0
// For .cc files only: it brings the JSON library in. Hostile text is refused before it can hurt.
#pragma once
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace octavo {

/// The document in `text`. Throws bad_data naming `source` with line and column for a syntax error, bytes
/// that are not UTF-8, a NUL byte, a key that occurs twice in an object, or nesting beyond 128 levels.
nlohmann::json parse_json(std::string_view text, const std::string& source);

}  // namespace octavo
