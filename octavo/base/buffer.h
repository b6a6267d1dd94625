// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

namespace octavo {

/// Zeroed, 64-byte aligned memory of its own. From 4 MiB on it is mapped with transparent huge pages asked
/// for: streaming through small pages costs up to a third of the DRAM bandwidth.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  Buffer(Buffer&& other) noexcept;
  Buffer& operator=(Buffer&& other) noexcept;
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer();

  void* data() const { return data_; }
  size_t size() const { return size_; }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace octavo
