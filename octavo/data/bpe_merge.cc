// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/bpe_merge.h"

#include <bit>

namespace octavo {
namespace {

uint64_t key_of(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

}  // namespace

void MergeTable::reserve(size_t count) {
  const size_t wanted = std::bit_ceil(std::max<size_t>(16, count * 2));
  if (wanted <= slots_.size()) return;
  std::vector<Slot> old(wanted);
  old.swap(slots_);
  for (const Slot& slot : old)
    if (slot.key != kEmpty) slots_[slot_of(slot.key)] = slot;
}

size_t MergeTable::slot_of(uint64_t key) const {
  const size_t mask = slots_.size() - 1;
  size_t at = (key * 0x9E3779B97F4A7C15u >> 20) & mask;
  while (slots_[at].key != kEmpty && slots_[at].key != key) at = (at + 1) & mask;
  return at;
}

void MergeTable::add(int32_t left, int32_t right, int32_t rank, int32_t result) {
  reserve(used_ + 1);
  Slot& slot = slots_[slot_of(key_of(left, right))];
  used_ += slot.key == kEmpty;
  slot = {key_of(left, right), rank, result};
}

Join MergeTable::find(int32_t left, int32_t right) const {
  if (slots_.empty()) return {};
  const Slot& slot = slots_[slot_of(key_of(left, right))];
  if (slot.key == kEmpty) return {};
  return {static_cast<double>(slot.rank), slot.result};
}

std::unique_ptr<BpeScratch> ScratchPool::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) return std::make_unique<BpeScratch>();
  auto scratch = std::move(idle_.back());
  idle_.pop_back();
  return scratch;
}

void ScratchPool::give_back(std::unique_ptr<BpeScratch> scratch) {
  const std::lock_guard lock(mutex_);
  idle_.push_back(std::move(scratch));
}

bool words_begin_at_metaspace(const std::vector<std::string>& tokens) {
  constexpr std::string_view kMark = "\xE2\x96\x81";
  for (const std::string& token : tokens) {
    bool other = false;
    for (size_t at = 0; at < token.size();) {
      if (token.compare(at, kMark.size(), kMark) == 0) {
        if (other) return false;
        at += kMark.size();
      } else {
        other = true;
        ++at;
      }
    }
  }
  return true;
}

}  // namespace octavo
