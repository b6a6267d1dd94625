// SPDX-License-Identifier: Apache-2.0
// Reading GGUF files (versions 2 and 3, little-endian): metadata and tensors of llama.cpp and its relatives.
// Source: the specification gguf.md of ggml.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "octavo/base/file.h"
#include "octavo/io/gguf_encoding.h"

namespace octavo {

/// One tensor of an open file; the bytes belong to its memory map.
struct GgufTensor {
  std::string name;
  const GgufEncoding* encoding = nullptr;
  std::vector<uint64_t> shape;  ///< row-major, the reverse of what the file lists: [rows, cols]
  std::span<const std::byte> data;
  uint64_t elements() const { return *shape_elements(shape); }
};

/// A memory-mapped file, fully checked on opening: every length against what is left of the file, keys and
/// names once, sizes without overflow, tensors one after the other at the file's alignment without holes or
/// overlap, nothing but padding after the last. Nothing is allocated that the file does not hold. Throws
/// bad_data naming file and key or tensor; unsupported for version 1, big-endian files, files in several
/// parts and encodings this build does not read.
class GgufFile {
 public:
  explicit GgufFile(const std::string& path);

  const std::vector<GgufTensor>& tensors() const { return tensors_; }
  /// nullptr when there is no such tensor.
  const GgufTensor* find(std::string_view name) const;
  const std::string& path() const { return file_.path(); }
  uint32_t version() const { return version_; }

  /// Metadata. Nothing when the key is absent; throws bad_data naming it when its value has another type.
  std::optional<std::string_view> find_string(std::string_view key) const;
  /// Any integer type that holds a value of 0..2^63-1.
  std::optional<int64_t> find_int(std::string_view key) const;
  std::optional<double> find_double(std::string_view key) const;
  std::optional<bool> find_bool(std::string_view key) const;
  /// Arrays; the views belong to the memory map.
  std::optional<std::vector<std::string_view>> find_strings(std::string_view key) const;
  std::optional<std::vector<int64_t>> find_ints(std::string_view key) const;
  std::optional<std::vector<float>> find_floats(std::string_view key) const;
  /// As find_, throws bad_data when the key is absent.
  int64_t get_int(std::string_view key) const;
  std::string_view get_string(std::string_view key) const;

 private:
  /// Types of values, numbered as in the file.
  enum class Type : uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
  struct Value {
    Type type{};  ///< of the value, or of an array's elements
    bool is_array = false;
    uint64_t count = 1;
    std::span<const std::byte> bytes;
  };
  class Cursor;
  static size_t fixed_size(Type type);
  static const char* type_name(Type type);

  void read_metadata(Cursor& cursor, uint64_t count);
  void read_tensors(Cursor& cursor, uint64_t count);
  void place_tensors(std::span<const std::byte> data, uint64_t alignment,
                     const std::vector<uint64_t>& offsets);
  const Value* find_value(std::string_view key, bool array) const;
  [[noreturn]] void wrong_type(std::string_view key, const Value& value, const char* expected) const;
  int64_t integer(std::string_view key, const Value& value, const std::byte* at) const;
  template <class T, class Read>
  std::optional<std::vector<T>> array_of(std::string_view key, size_t element, Read read) const;

  MappedFile file_;
  uint32_t version_ = 0;
  std::unordered_map<std::string_view, Value> metadata_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
};

}  // namespace octavo
