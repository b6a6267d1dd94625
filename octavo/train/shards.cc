// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/shards.h"

#include <algorithm>
#include <numeric>

namespace octavo {

std::vector<int> assign_tensors(std::span<const int64_t> sizes, int ranks) {
  std::vector<size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
  std::vector<int64_t> load(static_cast<size_t>(ranks));
  std::vector<int> owner(sizes.size());
  for (const size_t tensor : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += sizes[tensor];
    owner[tensor] = static_cast<int>(least - load.begin());
  }
  return owner;
}

std::vector<Shard> make_shards(const ParameterSet& parameters, Partition partition, int ranks) {
  std::vector<Shard> shards;
  if (partition == Partition::tensors) {
    std::vector<int64_t> sizes;
    for (const Parameter& p : parameters.all()) {
      int64_t element = 0;
      for (const StateTensor* t : {&p.master, &p.weight_grad, &p.moment1, &p.moment2})
        element += bytes(t->spec.format);
      sizes.push_back(p.size() * element);
    }
    const std::vector<int> owners = assign_tensors(sizes, ranks);
    for (size_t i = 0; i < sizes.size(); ++i)
      shards.push_back({i, {0, parameters.all()[i].size()}, owners[i]});
    return shards;
  }
  const int64_t total = parameters.total_size();
  const auto cut = [&](int64_t rank) { return rank == ranks ? total : rank * total / ranks / 64 * 64; };
  int rank = 0;
  int64_t begin = 0;  // of the parameter among all elements
  for (size_t i = 0; i < parameters.all().size(); ++i) {
    const int64_t end = begin + parameters.all()[i].size();
    for (int64_t at = begin; at < end;) {
      while (cut(rank + 1) <= at) ++rank;
      const int64_t next = std::min(end, cut(rank + 1));
      shards.push_back({i, {at - begin, next - at}, rank});
      at = next;
    }
    begin = end;
  }
  return shards;
}

}  // namespace octavo
