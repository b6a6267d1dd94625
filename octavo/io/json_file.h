// SPDX-License-Identifier: Apache-2.0
// Reading JSON that others wrote (config.json and the like): every error names the file and the key.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// A read-only view of one JSON object; cheap to copy, keeps the document alive. The getters throw bad_data
/// when the key is absent or has another type, e.g.
///   'm/config.json': key 'rope_scaling.factor' is a string, expected a number
/// The find_ forms give nothing when the key is absent or null, and still throw for another type.
class JsonObject {
 public:
  /// Parses the file; throws bad_data with line and column for a syntax error, bytes that are not UTF-8, a
  /// key that occurs twice in an object, or nesting beyond 128 levels.
  static JsonObject read(const std::string& path);
  /// The same for text at hand; `source` is what messages call it.
  static JsonObject parse(std::string_view text, const std::string& source);

  /// True also when the value is null.
  bool has(std::string_view key) const;
  /// Sorted.
  std::vector<std::string> keys() const;
  const std::string& source() const { return source_; }

  /// A whole number written without fraction or exponent that fits in 64 bits.
  int64_t get_int(std::string_view key) const;
  double get_double(std::string_view key) const;
  bool get_bool(std::string_view key) const;
  std::string get_string(std::string_view key) const;
  JsonObject get_object(std::string_view key) const;
  std::vector<int64_t> get_int_array(std::string_view key) const;
  std::vector<double> get_double_array(std::string_view key) const;
  std::vector<std::string> get_string_array(std::string_view key) const;
  std::vector<JsonObject> get_object_array(std::string_view key) const;

  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_double(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  std::optional<std::string> find_string(std::string_view key) const;
  std::optional<JsonObject> find_object(std::string_view key) const;
  /// True when the key is there and its value is an array: some configs hold either one value or several.
  bool is_array(std::string_view key) const;

 private:
  JsonObject(std::shared_ptr<const void> node, std::string source, std::string prefix)
      : node_(std::move(node)), source_(std::move(source)), prefix_(std::move(prefix)) {}

  std::shared_ptr<const void> node_;  // an object inside the parsed document, which it shares
  std::string source_;
  std::string prefix_;  // "rope_scaling." within that object
};

}  // namespace octavo
