// SPDX-License-Identifier: Apache-2.0
// Files as the rest of the house needs them: whole reads, read-only maps, and writes that are either complete
// or absent.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace octavo {

/// The whole file. Throws bad_data with the path when it cannot be read.
std::string read_file(const std::string& path);

/// Writes `content` to a temporary neighbour, syncs it, renames it over `path`. A full disk or a crash leaves
/// the old file.
void write_file_atomic(const std::string& path, std::string_view content);

/// A read-only memory map. Movable; an empty file maps to an empty span.
class MappedFile {
 public:
  MappedFile() = default;
  explicit MappedFile(const std::string& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(data_), size_}; }
  const std::string& path() const { return path_; }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
  std::string path_;
};

/// A file being written with checked writes. close() syncs to disk and throws when any byte did not arrive
/// (a full disk shows up there at the latest); a destroyed, unclosed writer removes nothing and says nothing.
class FileWriter {
 public:
  explicit FileWriter(const std::string& path);
  ~FileWriter();
  FileWriter(const FileWriter&) = delete;
  FileWriter& operator=(const FileWriter&) = delete;
  void write(const void* data, size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void close();

 private:
  int fd_ = -1;
  std::string path_;
};

/// fsync of a directory, so that a rename in it survives a power cut.
void sync_directory(const std::string& path);

}  // namespace octavo
