// SPDX-License-Identifier: Apache-2.0
// For the .cc files of this room only: JSON from files nobody vouches for, with errors that name file and
// key.
#pragma once
#include <string>
#include <string_view>

#include "octavo/base/json_parse.h"

namespace octavo {

using Json = nlohmann::json;

/// parse_json (base) of a whole file.
Json read_json(const std::string& path);

/// object[key], which must be there and of the type: "object", "array", "string", "number", "boolean" or ""
/// (any). `where` names the file and, for nested objects, the part of it ("'f' model").
const Json& need(const Json& object, const char* key, const std::string& type, const std::string& where);

/// object[key] when present and not null, with the same check of type; else nullptr.
const Json* maybe(const Json& object, const char* key, const std::string& type, const std::string& where);

std::string need_string(const Json& object, const char* key, const std::string& where);
/// An integer within [low, high].
int64_t need_integer(const Json& object, const char* key, int64_t low, int64_t high,
                     const std::string& where);
bool maybe_bool(const Json& object, const char* key, bool fallback, const std::string& where);
std::string maybe_string(const Json& object, const char* key, const std::string& fallback,
                         const std::string& where);

}  // namespace octavo
