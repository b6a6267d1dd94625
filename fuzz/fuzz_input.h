// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share: the input as a file, and the rule that only octavo::Error may come out.
#pragma once
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "octavo/base/error.h"

namespace octavo {

/// A directory of this process in memory (/dev/shm) where there is one.
class FuzzDirectory {
 public:
  FuzzDirectory() {
    const char* parent = std::filesystem::is_directory("/dev/shm") ? "/dev/shm" : "/tmp";
    path_ = std::string(parent) + "/octavo-fuzz-" + std::to_string(::getpid());
    std::filesystem::create_directories(path_);
  }
  ~FuzzDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  FuzzDirectory(const FuzzDirectory&) = delete;
  FuzzDirectory& operator=(const FuzzDirectory&) = delete;

  /// Writes the input under this name; the path.
  std::string put(const std::string& name, const uint8_t* data, size_t size) const {
    const std::string file = path_ + "/" + name;
    std::ofstream out(file, std::ios::binary | std::ios::trunc);
    out.write(reinterpret_cast<const char*>(data), static_cast<std::streamsize>(size));
    return file;
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// Calls `read`; an Error is an answer, any other exception ends the program and is reported.
template <class Read>
int expect_an_answer(Read read) {
  try {
    read();
  } catch (const Error& error) {
    if (error.what()[0] == '\0') std::abort();
  }
  return 0;
}

}  // namespace octavo
