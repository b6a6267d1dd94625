// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/arena.h"

#include <algorithm>
#include <stdexcept>

namespace octavo {
namespace {
size_t round_up64(size_t n) { return (n + 63) & ~size_t{63}; }
}  // namespace

Arena::Block Arena::reserve(const std::string& category, size_t bytes) {
  if (committed_) throw std::logic_error("Arena::reserve after commit (" + category + ")");
  const Block block{total_, bytes};
  total_ += round_up64(bytes);
  categories_[category] += round_up64(bytes);
  return block;
}

void Arena::commit() {
  if (committed_) throw std::logic_error("Arena::commit called twice");
  buffer_ = Buffer(total_);
  committed_ = true;
}

void* Workspace::take_bytes(size_t bytes) {
  const size_t offset = used_;
  used_ += round_up64(bytes);
  high_water_ = std::max(high_water_, used_);
  if (planning()) return reinterpret_cast<void*>(kPlaceholder + offset);
  if (used_ > size_) throw std::logic_error("workspace too small: the plan missed a temporary");
  return base_ + offset;
}

}  // namespace octavo
