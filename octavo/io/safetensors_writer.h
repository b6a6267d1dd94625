// SPDX-License-Identifier: Apache-2.0
// Writing safetensors files, streamed: declare every tensor, then hand over the data in the order of the
// file.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/base/file.h"
#include "octavo/io/file_dtype.h"

namespace octavo {

/// A tensor as declared; bytes = elements * bits / 8.
struct TensorDeclaration {
  std::string name;
  FileDtype dtype = FileDtype::f32;
  std::vector<uint64_t> shape;
  uint64_t bytes = 0;
};

/// How tensors lie in a file: larger element types first, then by name.
inline bool file_order(const TensorDeclaration& a, const TensorDeclaration& b) {
  return a.dtype != b.dtype ? a.dtype > b.dtype : a.name < b.name;
}

/// Usage: add() every tensor; then for each of order(): write() its bytes, whole or in parts; then close().
/// Writes to `path` directly, so the caller gives a path in a directory that is renamed into place
/// (AtomicDirectory) or a temporary neighbour. Every failing write throws (bad_data with the reason, such as
/// "No space left on device"). The same declarations and data give the same bytes.
class SafetensorsWriter {
 public:
  explicit SafetensorsWriter(const std::string& path, std::map<std::string, std::string> metadata = {});

  /// Throws bad_data for a repeated or reserved name or a size that overflows, unsupported below 8 bits.
  void add(const std::string& name, FileDtype dtype, std::vector<uint64_t> shape);

  /// All tensors in file_order(). Ends the declarations:
  /// the header is written here, and add() throws from now on.
  const std::vector<TensorDeclaration>& order();

  /// The next bytes of tensor `name`; throws when another tensor is due or `data` is more than what is
  /// missing.
  void write(std::string_view name, std::span<const std::byte> data);

  /// Calls `source` once for each tensor in file order; it returns the whole data, valid until the next call.
  void write_all(const std::function<std::span<const std::byte>(const TensorDeclaration&)>& source);

  /// Throws when data is missing; syncs the file to disk.
  void close();

 private:
  void write_header();
  void skip_complete();

  std::string path_;
  FileWriter file_;
  std::map<std::string, std::string> metadata_;
  std::vector<TensorDeclaration> tensors_;
  bool header_written_ = false;
  size_t next_ = 0;       // the tensor whose data is due
  uint64_t written_ = 0;  // bytes of it that are there
};

/// A tensor to write; `data` points at its elements, row-major.
struct TensorToWrite {
  std::string name;
  FileDtype dtype = FileDtype::f32;
  std::vector<uint64_t> shape;
  const void* data = nullptr;
};

/// All of it in one call. See SafetensorsWriter.
void write_safetensors(const std::string& path, std::span<const TensorToWrite> tensors,
                       const std::map<std::string, std::string>& metadata = {});

}  // namespace octavo
