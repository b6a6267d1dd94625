// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/json_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/json_parse.h"
#include "octavo/base/quote_name.h"

namespace octavo {
namespace {

using nlohmann::json;

const char* type_phrase(const json& value) {
  switch (value.type()) {
    case json::value_t::null:
      return "null";
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return "a string";
    case json::value_t::boolean:
      return "a boolean";
    case json::value_t::number_float:
      return "a number with a fraction or exponent";
    default:
      return "a whole number";
  }
}

/// A value and what messages call it.
struct Named {
  const json& value;
  const std::string& source;
  std::string name;

  [[noreturn]] void fail_type(const char* expected) const {
    fail_data(fmt::format("'{}': key {} is {}, expected {}", source, quote_name(name), type_phrase(value),
                          expected));
  }
  int64_t as_int() const {
    if (!value.is_number_integer()) fail_type("a whole number");
    if (value.is_number_unsigned() &&
        value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      fail_data(fmt::format("'{}': key {} is {}, which is too large", source, quote_name(name),
                            value.get<uint64_t>()));
    }
    return value.get<int64_t>();
  }
  double as_double() const {
    if (!value.is_number()) fail_type("a number");
    return value.get<double>();
  }
  bool as_bool() const {
    if (!value.is_boolean()) fail_type("true or false");
    return value.get<bool>();
  }
  std::string as_string() const {
    if (!value.is_string()) fail_type("a string");
    return value.get<std::string>();
  }
  void require_object() const {
    if (!value.is_object()) fail_type("an object");
  }

  template <class Function>
  auto as_array(Function element) const {
    if (!value.is_array()) fail_type("an array");
    std::vector<decltype(element(*this))> result;
    result.reserve(value.size());
    for (size_t i = 0; i < value.size(); ++i) {
      result.push_back(element(Named{value[i], source, fmt::format("{}[{}]", name, i)}));
    }
    return result;
  }
};

const json& as_json(const std::shared_ptr<const void>& node) { return *static_cast<const json*>(node.get()); }

Named member(const std::shared_ptr<const void>& node, const std::string& source, const std::string& prefix,
             std::string_view key) {
  const std::string name = prefix + std::string(key);
  const json& object = as_json(node);
  const auto found = object.find(std::string(key));
  if (found == object.end()) fail_data(fmt::format("'{}': key {} is missing", source, quote_name(name)));
  return {*found, source, name};
}

}  // namespace

JsonObject JsonObject::read(const std::string& path) { return parse(read_file(path), path); }

JsonObject JsonObject::parse(std::string_view text, const std::string& source) {
  auto document = std::make_shared<const json>(parse_json(text, source));
  if (!document->is_object()) {
    fail_data(fmt::format("'{}': the JSON is {}, expected an object", source, type_phrase(*document)));
  }
  return {std::move(document), source, ""};
}

bool JsonObject::has(std::string_view key) const { return as_json(node_).contains(std::string(key)); }

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> result;
  for (const auto& item : as_json(node_).items()) result.push_back(item.key());
  return result;
}

int64_t JsonObject::get_int(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_int();
}
double JsonObject::get_double(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_double();
}
bool JsonObject::get_bool(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_bool();
}
std::string JsonObject::get_string(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_string();
}

JsonObject JsonObject::get_object(std::string_view key) const {
  const Named found = member(node_, source_, prefix_, key);
  found.require_object();
  return {std::shared_ptr<const void>(node_, &found.value), source_, found.name + "."};
}

std::vector<int64_t> JsonObject::get_int_array(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_array([](const Named& item) { return item.as_int(); });
}
std::vector<double> JsonObject::get_double_array(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_array([](const Named& item) { return item.as_double(); });
}
std::vector<std::string> JsonObject::get_string_array(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_array([](const Named& item) { return item.as_string(); });
}
std::vector<JsonObject> JsonObject::get_object_array(std::string_view key) const {
  return member(node_, source_, prefix_, key).as_array([this](const Named& item) {
    item.require_object();
    return JsonObject(std::shared_ptr<const void>(node_, &item.value), source_, item.name + ".");
  });
}

namespace {

bool is_set(const std::shared_ptr<const void>& node, std::string_view key) {
  const json& object = as_json(node);
  const auto found = object.find(std::string(key));
  return found != object.end() && !found->is_null();
}

}  // namespace

std::optional<int64_t> JsonObject::find_int(std::string_view key) const {
  return is_set(node_, key) ? std::optional(get_int(key)) : std::nullopt;
}
std::optional<double> JsonObject::find_double(std::string_view key) const {
  return is_set(node_, key) ? std::optional(get_double(key)) : std::nullopt;
}
std::optional<bool> JsonObject::find_bool(std::string_view key) const {
  return is_set(node_, key) ? std::optional(get_bool(key)) : std::nullopt;
}
std::optional<std::string> JsonObject::find_string(std::string_view key) const {
  return is_set(node_, key) ? std::optional(get_string(key)) : std::nullopt;
}
std::optional<JsonObject> JsonObject::find_object(std::string_view key) const {
  return is_set(node_, key) ? std::optional(get_object(key)) : std::nullopt;
}
bool JsonObject::is_array(std::string_view key) const {
  return is_set(node_, key) && as_json(node_)[std::string(key)].is_array();
}

}  // namespace octavo
