// SPDX-License-Identifier: Apache-2.0
// TensorBoard event files, scalars only. Format: TFRecord frames (length, CRC, data, CRC) that each hold one
// tensorflow.Event protocol buffer.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "octavo/base/file.h"

namespace octavo {

/// CRC-32C (Castagnoli polynomial, reflected), RFC 3720 section 12.1.
uint32_t crc32c(std::span<const std::byte> data);

/// Writes one events.out.tfevents.<time>.<host> file. Opening always begins a new file, also within the same
/// second (then with a number appended), so a resumed run adds to its directory and damages nothing.
class EventFileWriter {
 public:
  /// Creates `directory` if needed. `wall_time`: seconds since 1970, < 0 for now. Throws when the disk
  /// refuses.
  explicit EventFileWriter(const std::string& directory, double wall_time = -1);
  ~EventFileWriter();
  EventFileWriter(EventFileWriter&&) = default;

  /// All values of one step as one event. Collected in memory until flush(), or 64 KiB are together.
  void add_scalars(int64_t step, std::span<const std::pair<std::string, float>> values,
                   double wall_time = -1);
  void add_scalar(const std::string& tag, int64_t step, float value, double wall_time = -1);
  void flush();
  /// Flushes and syncs to disk. Without it the destructor still flushes, but cannot report a full disk.
  void close();

  const std::string& path() const { return path_; }

 private:
  void append_record(const std::string& event);

  std::string path_;
  std::unique_ptr<FileWriter> file_;
  std::string pending_;
};

}  // namespace octavo
