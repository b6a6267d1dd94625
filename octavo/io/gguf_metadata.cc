// SPDX-License-Identifier: Apache-2.0
// The typed getters of a GGUF file's metadata; every value was checked against the file's end on opening.
#include <fmt/format.h>

#include "octavo/base/error.h"
#include "octavo/base/load_as.h"
#include "octavo/base/quote_name.h"
#include "octavo/io/gguf.h"

namespace octavo {
const char* GgufFile::type_name(Type type) {
  switch (type) {
    case Type::f32:
    case Type::f64:
      return "fraction";
    case Type::boolean:
      return "boolean";
    case Type::string:
      return "string";
    case Type::array:
      return "array";
    default:
      return "integer";
  }
}

const GgufFile::Value* GgufFile::find_value(std::string_view key, bool array) const {
  const auto found = metadata_.find(key);
  if (found == metadata_.end()) return nullptr;
  if (found->second.is_array != array) wrong_type(key, found->second, array ? "an array" : "one value");
  return &found->second;
}

void GgufFile::wrong_type(std::string_view key, const Value& value, const char* expected) const {
  fail_data(fmt::format("'{}': metadata key {} is {}{}, expected {}", path(), quote_name(key),
                        value.is_array ? "an array of type " : "of type ", type_name(value.type), expected));
}

int64_t GgufFile::integer(std::string_view key, const Value& value, const std::byte* at) const {
  switch (value.type) {
    case Type::u8:
      return load_as<uint8_t>(at);
    case Type::i8:
      return load_as<int8_t>(at);
    case Type::u16:
      return load_as<uint16_t>(at);
    case Type::i16:
      return load_as<int16_t>(at);
    case Type::u32:
      return load_as<uint32_t>(at);
    case Type::i32:
      return load_as<int32_t>(at);
    case Type::i64:
      return load_as<int64_t>(at);
    case Type::u64:
      if (load_as<uint64_t>(at) <= INT64_MAX) return static_cast<int64_t>(load_as<uint64_t>(at));
      [[fallthrough]];
    default:
      wrong_type(key, value, "integers below 2^63");
  }
}

std::optional<std::string_view> GgufFile::find_string(std::string_view key) const {
  const Value* value = find_value(key, false);
  if (!value) return std::nullopt;
  if (value->type != Type::string) wrong_type(key, *value, "a string");
  return std::string_view(reinterpret_cast<const char*>(value->bytes.data()) + 8, value->bytes.size() - 8);
}

std::optional<int64_t> GgufFile::find_int(std::string_view key) const {
  const Value* value = find_value(key, false);
  if (!value) return std::nullopt;
  const int64_t number = integer(key, *value, value->bytes.data());
  if (number < 0)
    fail_data(
        fmt::format("'{}': metadata key {} is {}, expected 0 or more", path(), quote_name(key), number));
  return number;
}

std::optional<double> GgufFile::find_double(std::string_view key) const {
  const Value* value = find_value(key, false);
  if (!value) return std::nullopt;
  if (value->type == Type::f32) return load_as<float>(value->bytes.data());
  if (value->type == Type::f64) return load_as<double>(value->bytes.data());
  wrong_type(key, *value, "a fraction");
}

std::optional<bool> GgufFile::find_bool(std::string_view key) const {
  const Value* value = find_value(key, false);
  if (!value) return std::nullopt;
  if (value->type != Type::boolean || load_as<uint8_t>(value->bytes.data()) > 1)
    wrong_type(key, *value, "a boolean");
  return load_as<uint8_t>(value->bytes.data()) == 1;
}

template <class T, class Read>
std::optional<std::vector<T>> GgufFile::array_of(std::string_view key, size_t element, Read read) const {
  const Value* value = find_value(key, true);
  if (!value) return std::nullopt;
  std::vector<T> out;
  out.reserve(value->count);
  const std::byte* at = value->bytes.data();
  for (uint64_t i = 0; i < value->count; ++i) {
    out.push_back(read(*value, at));
    at += element ? element : fixed_size(value->type);
  }
  return out;
}

std::optional<std::vector<int64_t>> GgufFile::find_ints(std::string_view key) const {
  return array_of<int64_t>(key, 0,
                           [&](const Value& value, const std::byte* at) { return integer(key, value, at); });
}

std::optional<std::vector<float>> GgufFile::find_floats(std::string_view key) const {
  return array_of<float>(key, sizeof(float), [&](const Value& value, const std::byte* at) {
    if (value.type != Type::f32) wrong_type(key, value, "an array of 32-bit fractions");
    return load_as<float>(at);
  });
}

std::optional<std::vector<std::string_view>> GgufFile::find_strings(std::string_view key) const {
  const Value* value = find_value(key, true);
  if (!value) return std::nullopt;
  if (value->type != Type::string) wrong_type(key, *value, "an array of strings");
  std::vector<std::string_view> out;
  out.reserve(value->count);
  const std::byte* at = value->bytes.data();  // walked once when the file was opened
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto length = load_as<uint64_t>(at);
    out.emplace_back(reinterpret_cast<const char*>(at) + 8, length);
    at += 8 + length;
  }
  return out;
}

int64_t GgufFile::get_int(std::string_view key) const {
  const auto value = find_int(key);
  if (!value) fail_data(fmt::format("'{}': metadata key '{}' is missing", path(), key));
  return *value;
}

std::string_view GgufFile::get_string(std::string_view key) const {
  const auto value = find_string(key);
  if (!value) fail_data(fmt::format("'{}': metadata key '{}' is missing", path(), key));
  return *value;
}

}  // namespace octavo
