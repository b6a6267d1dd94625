// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

namespace octavo {

/// Copies through a buffer in order: what is packed on one side is unpacked the same way on the other.
class Cursor {
 public:
  explicit Cursor(std::byte* at) : at_(at) {}
  std::byte* take(size_t bytes) { return std::exchange(at_, at_ + bytes); }
  void put(std::span<const std::byte> data) { std::memcpy(take(data.size()), data.data(), data.size()); }
  void get(std::span<std::byte> data) { std::memcpy(data.data(), take(data.size()), data.size()); }
  template <class T>
  void put_value(const T& value) {
    put(std::as_bytes(std::span<const T, 1>(&value, 1)));
  }
  template <class T>
  T get_value() {
    T value;
    get(std::as_writable_bytes(std::span<T, 1>(&value, 1)));
    return value;
  }

 private:
  std::byte* at_;
};

}  // namespace octavo
