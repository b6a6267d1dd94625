// SPDX-License-Identifier: Apache-2.0
#include "octavo/comm/traffic.h"

namespace octavo {

// A run has about ten entries; a search is cheaper than a map.
void TrafficCounters::add(const Label& label, int64_t bytes) {
  for (Entry& entry : entries_) {
    if (entry.role != label.role || entry.operation != label.operation) continue;
    ++entry.exchanges;
    entry.bytes += bytes;
    return;
  }
  entries_.push_back({label.role, label.operation, 1, bytes});
}

int64_t TrafficCounters::bytes() const {
  int64_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.bytes;
  return sum;
}

int64_t TrafficCounters::bytes(Traffic role) const {
  int64_t sum = 0;
  for (const Entry& entry : entries_) sum += entry.role == role ? entry.bytes : 0;
  return sum;
}

int64_t TrafficCounters::bytes(Traffic role, std::string_view operation) const {
  for (const Entry& entry : entries_)
    if (entry.role == role && entry.operation == operation) return entry.bytes;
  return 0;
}

}  // namespace octavo
