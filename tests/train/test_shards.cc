// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/shards.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "octavo/base/rng.h"

namespace octavo {
namespace {

std::vector<int64_t> loads(const std::vector<int64_t>& sizes, const std::vector<int>& owners, int ranks) {
  std::vector<int64_t> load(static_cast<size_t>(ranks));
  for (size_t i = 0; i < sizes.size(); ++i) load[static_cast<size_t>(owners[i])] += sizes[i];
  return load;
}

TEST(AssignTensors, LargestFirstToTheLeastLoaded) {
  EXPECT_EQ(assign_tensors(std::vector<int64_t>{3, 8, 5, 5, 1}, 2), (std::vector<int>{0, 0, 1, 1, 1}));
  EXPECT_EQ(assign_tensors(std::vector<int64_t>{7, 7, 7}, 4), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(assign_tensors(std::vector<int64_t>{}, 3), std::vector<int>());
  EXPECT_EQ(assign_tensors(std::vector<int64_t>{4, 2}, 1), (std::vector<int>{0, 0}));
}

TEST(AssignTensors, StaysWithinGrahamsBound) {
  const Rng rng(3);
  for (uint64_t round = 0; round < 200; ++round) {
    const int ranks = static_cast<int>(rng.integer(10 * round) % 15) + 2;
    std::vector<int64_t> sizes(rng.integer(10 * round + 1) % 60 + 1);
    for (size_t i = 0; i < sizes.size(); ++i)
      sizes[i] = static_cast<int64_t>(rng.integer(1000 * round + i + 7) % 997) + 1;
    const std::vector<int64_t> load = loads(sizes, assign_tensors(sizes, ranks), ranks);
    const int64_t total = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
    EXPECT_EQ(std::accumulate(load.begin(), load.end(), int64_t{0}), total);
    std::sort(sizes.rbegin(), sizes.rend());
    // No rank can have less than the mean, the largest tensor, or two of the ranks + 1 largest.
    double best = std::max(static_cast<double>(total) / ranks, static_cast<double>(sizes[0]));
    if (sizes.size() > static_cast<size_t>(ranks))
      best = std::max(best, static_cast<double>(sizes[static_cast<size_t>(ranks) - 1] +
                                                sizes[static_cast<size_t>(ranks)]));
    EXPECT_LE(static_cast<double>(*std::max_element(load.begin(), load.end())),
              (4.0 / 3 - 1.0 / (3 * ranks)) * best * 4 / 3);
  }
}

Parameter sized(int64_t rows, int64_t cols) {
  Parameter p;
  p.rows = rows;
  p.cols = cols;
  return p;
}

TEST(Shards, CoverEveryElementOnce) {
  ParameterSet parameters;
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{100, 70}, {1, 5}, {3, 333}, {1, 1}, {64, 64}})
    parameters.add(sized(rows, cols));
  for (const std::vector<bool>& whole : {std::vector<bool>(5, true), std::vector<bool>(5, false),
                                         std::vector<bool>{false, true, true, false, false}})
    for (const int ranks : {1, 2, 3, 8, 40}) {
      std::vector<int64_t> at(parameters.all().size()), load(static_cast<size_t>(ranks));
      for (const Shard& s : make_shards(parameters, whole, ranks)) {
        EXPECT_EQ(s.part.first, at[s.parameter]) << "in order, without gaps";
        EXPECT_GT(s.part.count, 0);
        if (whole[s.parameter]) {
          EXPECT_EQ(s.part.count, parameters.all()[s.parameter].size());
        } else {
          load[static_cast<size_t>(s.owner)] += s.part.count;
        }
        at[s.parameter] = s.part.end();
      }
      for (size_t i = 0; i < at.size(); ++i) EXPECT_EQ(at[i], parameters.all()[i].size());
      const auto [least, most] = std::minmax_element(load.begin(), load.end());
      EXPECT_LE(*most - *least, 2 * 64 + 63) << "what is cut is cut evenly";
    }
}

}  // namespace
}  // namespace octavo
