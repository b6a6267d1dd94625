// SPDX-License-Identifier: Apache-2.0
// Memory planned once. Every long-lived byte of a run is reserved under a category before anything is
// allocated, so the memory table printed at the start is the allocation itself.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "octavo/base/buffer.h"

namespace octavo {

/// Address handed out where there is no memory yet.
inline constexpr uintptr_t kPlaceholder = 4096;

/// Two-phase bump allocator: reserve() every block, commit() once, then at() gives addresses.
/// A scratch region inside it is a Workspace.
class Arena {
 public:
  /// A reserved block; its address is known after commit().
  struct Block {
    size_t offset = 0;
    size_t bytes = 0;
  };

  /// Reserves `bytes` (rounded up to 64) under `category`. Call before commit().
  Block reserve(const std::string& category, size_t bytes);
  /// What reserve_one(0), reserve_one(1), ... reserve overlaps: memory that one of n owners uses at a time.
  /// Owners that reserve the same sizes in the same order get the same addresses.
  template <class Fn>
  void overlap(size_t n, Fn reserve_one) {
    const size_t start = total_;
    const std::map<std::string, size_t> before = categories_;
    size_t largest = start;
    std::map<std::string, size_t> categories = before;
    for (size_t i = 0; i < n; ++i) {
      total_ = start;
      categories_ = before;
      reserve_one(i);
      if (total_ > largest) {
        largest = total_;
        categories = categories_;
      }
    }
    total_ = largest;
    categories_ = categories;
  }
  /// Allocates everything, zeroed.
  void commit();
  bool committed() const { return committed_; }
  /// Bytes reserved by category, in alphabetic order.
  const std::map<std::string, size_t>& categories() const { return categories_; }
  size_t total() const { return total_; }

  /// Before commit() a placeholder that may be offset but not read, so that a plan can run the code it plans
  /// for.
  template <class T>
  T* at(Block block) const {
    return reinterpret_cast<T*>((committed_ ? reinterpret_cast<uintptr_t>(buffer_.data()) : kPlaceholder) +
                                block.offset);
  }

 private:
  std::map<std::string, size_t> categories_;
  size_t total_ = 0;
  bool committed_ = false;
  Buffer buffer_;
};

/// Stack of temporaries over one block. In planning mode (base == nullptr) it hands out placeholders that may
/// be offset but not read, and records the high-water mark: running the same code once without data tells how
/// much to reserve.
class Workspace {
 public:
  Workspace() = default;
  Workspace(void* base, size_t bytes) : base_(static_cast<char*>(base)), size_(bytes) {}

  /// `count` elements of T, 64-byte aligned, not zeroed. Throws std::logic_error when a committed workspace
  /// is too small: that is a bug in the plan, not a condition of the run.
  template <class T>
  T* take(size_t count) {
    return static_cast<T*>(take_bytes(count * sizeof(T)));
  }
  void* take_bytes(size_t bytes);

  size_t mark() const { return used_; }
  void release(size_t mark) { used_ = mark; }
  size_t high_water() const { return high_water_; }
  bool planning() const { return base_ == nullptr; }

 private:
  char* base_ = nullptr;
  size_t size_ = 0;
  size_t used_ = 0;
  size_t high_water_ = 0;
};

/// Gives back what was taken in a scope.
class WorkspaceScope {
 public:
  explicit WorkspaceScope(Workspace& workspace) : workspace_(workspace), mark_(workspace.mark()) {}
  ~WorkspaceScope() { workspace_.release(mark_); }
  WorkspaceScope(const WorkspaceScope&) = delete;
  WorkspaceScope& operator=(const WorkspaceScope&) = delete;

 private:
  Workspace& workspace_;
  size_t mark_;
};

}  // namespace octavo
