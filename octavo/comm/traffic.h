// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/comm/label.h"

namespace octavo {

/// Bytes that one rank sent to other ranks. What it keeps for itself and the headers of the check do
/// not count. Belongs to the thread that communicates.
class TrafficCounters {
 public:
  struct Entry {
    Traffic role;
    std::string operation;
    int64_t exchanges = 0, bytes = 0;
  };

  void add(const Label& label, int64_t bytes);
  void reset() { entries_.clear(); }
  int64_t bytes() const;
  int64_t bytes(Traffic role) const;
  int64_t bytes(Traffic role, std::string_view operation) const;
  /// In the order in which they first appeared since the last reset.
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace octavo
