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

std::vector<Shard> make_shards(const ParameterSet& parameters, const std::vector<bool>& whole, int ranks) {
  std::vector<int64_t> sizes;
  int64_t to_cut = 0;
  for (size_t i = 0; i < whole.size(); ++i) {
    const Parameter& p = parameters.all()[i];
    int64_t element = 0;
    for (const StateTensor* t : {&p.master, &p.weight_grad, &p.moment1, &p.moment2})
      element += bytes(t->spec.format);
    if (whole[i])
      sizes.push_back(p.size() * element);
    else
      to_cut += p.size();
  }
  const std::vector<int> owners = assign_tensors(sizes, ranks);
  const auto cut = [&](int64_t rank) { return rank == ranks ? to_cut : rank * to_cut / ranks / 64 * 64; };
  std::vector<Shard> shards;
  size_t next_owner = 0;
  int rank = 0;
  int64_t begin = 0;  // of the parameter among all elements that are cut
  for (size_t i = 0; i < whole.size(); ++i) {
    const int64_t size = parameters.all()[i].size();
    if (whole[i]) {
      shards.push_back({i, {0, size}, owners[next_owner++]});
      continue;
    }
    for (int64_t at = begin; at < begin + size;) {
      while (cut(rank + 1) <= at) ++rank;
      const int64_t next = std::min(begin + size, cut(rank + 1));
      shards.push_back({i, {at - begin, next - at}, rank});
      at = next;
    }
    begin += size;
  }
  return shards;
}

}  // namespace octavo
