// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/json_reading.h"

#include <fmt/format.h>

#include "octavo/base/error.h"
#include "octavo/base/file.h"

namespace octavo {
namespace {

bool has_type(const Json& value, const std::string& type) {
  if (type.empty()) return true;
  if (type == "integer") return value.is_number_integer();
  return type == value.type_name();
}

}  // namespace

Json read_json(const std::string& path) { return parse_json(read_file(path), path); }

const Json* maybe(const Json& object, const char* key, const std::string& type, const std::string& where) {
  if (!object.is_object())
    fail_data(fmt::format("{} must be an object, found {}", where, object.type_name()));
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return nullptr;
  if (!has_type(*found, type))
    fail_data(fmt::format("{}: key '{}' must be of type {}, found {}", where, key, type, found->type_name()));
  return &*found;
}

const Json& need(const Json& object, const char* key, const std::string& type, const std::string& where) {
  const Json* value = maybe(object, key, type, where);
  if (!value)
    fail_data(fmt::format("{} lacks the key '{}'{}", where, key, type.empty() ? "" : " of type " + type));
  return *value;
}

std::string need_string(const Json& object, const char* key, const std::string& where) {
  return need(object, key, "string", where).get<std::string>();
}

int64_t need_integer(const Json& object, const char* key, int64_t low, int64_t high,
                     const std::string& where) {
  const Json& value = need(object, key, "integer", where);
  const bool too_big = value.is_number_unsigned() && value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX);
  const int64_t number = too_big ? INT64_MAX : value.get<int64_t>();
  if (too_big || number < low || number > high)
    fail_data(
        fmt::format("{}: key '{}' must be within {}..{}, found {}", where, key, low, high, value.dump()));
  return number;
}

bool maybe_bool(const Json& object, const char* key, bool fallback, const std::string& where) {
  const Json* value = maybe(object, key, "boolean", where);
  return value ? value->get<bool>() : fallback;
}

std::string maybe_string(const Json& object, const char* key, const std::string& fallback,
                         const std::string& where) {
  const Json* value = maybe(object, key, "string", where);
  return value ? value->get<std::string>() : fallback;
}

}  // namespace octavo
