// SPDX-License-Identifier: Apache-2.0
// Reading safetensors files: 8 bytes of header length, a JSON header, one contiguous data part.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "octavo/base/file.h"
#include "octavo/io/file_dtype.h"

namespace octavo {

/// One tensor of an open file. The bytes belong to the file's memory map.
class TensorInfo {
 public:
  TensorInfo(std::string name, FileDtype dtype, std::vector<uint64_t> shape, std::span<const std::byte> data,
             std::string file)
      : name_(std::move(name)),
        dtype_(dtype),
        shape_(std::move(shape)),
        data_(data),
        file_(std::move(file)) {}

  const std::string& name() const { return name_; }
  FileDtype dtype() const { return dtype_; }
  const std::vector<uint64_t>& shape() const { return shape_; }
  uint64_t elements() const { return *shape_elements(shape_); }
  const std::string& file() const { return file_; }

  /// Row-major little-endian elements, elements() * bits / 8 bytes, NOT necessarily aligned for their type
  /// (the format promises none). Throws unsupported for the types below 8 bits.
  std::span<const std::byte> data() const;

 private:
  std::string name_;
  FileDtype dtype_;
  std::vector<uint64_t> shape_;
  std::span<const std::byte> data_;
  std::string file_;
};

/// A memory-mapped file, fully checked on opening: header of at most 100,000,000 bytes, UTF-8 JSON without
/// duplicate keys, known types, sizes that agree with shapes, data without holes or overlap that ends exactly
/// at the end of the file. Throws bad_data with a sentence that names the file and, where there is one, the
/// tensor. The file must not be changed while it is open; writers of this project rename new files into
/// place.
class SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  /// In the order of the data.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  /// Sorted.
  std::vector<std::string> names() const;
  /// nullptr when there is no such tensor.
  const TensorInfo* find(std::string_view name) const;
  /// Throws bad_data when there is no such tensor.
  const TensorInfo& get(std::string_view name) const;
  /// The `__metadata__` entry, empty when absent.
  const std::map<std::string, std::string>& metadata() const { return metadata_; }
  const std::string& path() const { return file_.path(); }

 private:
  MappedFile file_;
  std::vector<TensorInfo> tensors_;
  std::unordered_map<std::string_view, size_t> index_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace octavo
