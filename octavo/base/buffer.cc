// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "octavo/base/error.h"

namespace octavo {
namespace {
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMapFrom = 2 * kHugePage;
size_t round_up(size_t n, size_t to) { return (n + to - 1) / to * to; }
}  // namespace

Buffer::Buffer(size_t bytes) : size_(bytes) {
  if (bytes == 0) return;
  if (bytes >= kMapFrom) {
    // Over-map by one huge page and give back both ends, so that the block starts on a huge-page boundary.
    const size_t length = round_up(bytes, kHugePage);
    void* raw =
        ::mmap(nullptr, length + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED)
      fail_unsupported("out of memory: could not get " + std::to_string(bytes >> 20) + " MiB");
    char* start = static_cast<char*>(raw);
    char* aligned = reinterpret_cast<char*>(round_up(reinterpret_cast<size_t>(start), kHugePage));
    if (aligned > start) ::munmap(start, static_cast<size_t>(aligned - start));
    const size_t tail = static_cast<size_t>(start + length + kHugePage - (aligned + length));
    if (tail > 0) ::munmap(aligned + length, tail);
    ::madvise(aligned, length, MADV_HUGEPAGE);
    data_ = aligned;
  } else {
    data_ = std::aligned_alloc(64, round_up(bytes, 64));
    if (!data_) fail_unsupported("out of memory: could not get " + std::to_string(bytes) + " bytes");
    std::memset(data_, 0, bytes);
  }
}

Buffer::Buffer(Buffer&& other) noexcept { *this = std::move(other); }

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Buffer::~Buffer() {
  if (!data_) return;
  if (size_ >= kMapFrom)
    ::munmap(data_, round_up(size_, kHugePage));
  else
    std::free(data_);
}

}  // namespace octavo
