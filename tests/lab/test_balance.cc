// SPDX-License-Identifier: Apache-2.0
// Whole tensors divided among ranks: the greedy assignment on sizes worked out by hand, its bound, and the
// shapes of models that are split.
#include "octavo/lab/balance.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "error_of.h"
#include "octavo/base/rng.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/run_config.h"
#include "octavo/train/shards.h"

namespace octavo {
namespace {

using Sizes = std::vector<int64_t>;

ModelConfig shape(const std::string& preset, int64_t vocabulary) {
  return model_config(load_preset(preset), vocabulary);
}

int64_t least_possible(const Sizes& sizes, int ranks, Sizes& load, size_t next) {
  if (next == sizes.size()) return *std::max_element(load.begin(), load.end());
  int64_t best = std::accumulate(sizes.begin(), sizes.end(), int64_t{0});
  for (int r = 0; r < ranks; ++r) {
    load[static_cast<size_t>(r)] += sizes[next];
    best = std::min(best, least_possible(sizes, ranks, load, next + 1));
    load[static_cast<size_t>(r)] -= sizes[next];
  }
  return best;
}

TEST(Balance, GreedyTakesTheLargestFirstAndTheLeastLoaded) {
  // 7, 6, 5, 4, 3 to {7, 4} and {6, 5}, then 3 to the first of two equal loads.
  const Sizes sizes{3, 7, 5, 6, 4};
  EXPECT_EQ(assign_tensors(sizes, 2), (std::vector<int>{0, 0, 1, 1, 0}));
  const LoadSpread s = spread(sizes, 2);
  EXPECT_EQ(s.least, 11);
  EXPECT_EQ(s.most, 14);
  EXPECT_EQ(s.mean, 12.5);
  EXPECT_EQ(s.lower_bound, 12.5);
  EXPECT_DOUBLE_EQ(s.padding(), 1 - 12.5 / 14);
  // Equal sizes keep their order; a rank may stay empty.
  EXPECT_EQ(assign_tensors(Sizes{2, 2, 2}, 4), (std::vector<int>{0, 1, 2}));
  EXPECT_EQ(spread(Sizes{2, 2, 2}, 4).least, 0);
}

TEST(Balance, GrahamsWorstCaseMeetsTheBound) {
  // Two each of 2m-1 .. m+1 and three of m: greedy ends at 4m-1, the best possible is 3m.
  for (const int m : {2, 3, 4, 8}) {
    Sizes sizes{m, m, m};
    for (int64_t size = m + 1; size <= 2 * m - 1; ++size) sizes.insert(sizes.end(), {size, size});
    const LoadSpread s = spread(sizes, m);
    EXPECT_EQ(s.most, 4 * m - 1);
    EXPECT_EQ(s.mean, 3 * m);
    EXPECT_NEAR(s.most, graham_factor(m) * 3 * m, 1e-9);
  }
}

TEST(Balance, GreedyIsWithinGrahamsFactorOfTheBest) {
  const Rng rng(7);
  uint64_t at = 0;
  for (int round = 0; round < 60; ++round) {
    const int ranks = 2 + round % 3;
    Sizes sizes(static_cast<size_t>(4 + round % 6)), load(static_cast<size_t>(ranks));
    for (int64_t& size : sizes) size = 1 + static_cast<int64_t>(rng.integer(at++) % 100);
    const LoadSpread s = spread(sizes, ranks);
    const double best = static_cast<double>(least_possible(sizes, ranks, load, 0));
    EXPECT_LE(s.most, graham_factor(ranks) * best + 1e-9);
    EXPECT_GE(best, s.lower_bound);
    EXPECT_GE(s.least, 0);
  }
}

TEST(Balance, SlicesFillEvenly) {
  const LoadSpread s = spread(Sizes{10}, 2, 20);
  EXPECT_EQ(s.least, 10);
  EXPECT_EQ(s.most, 20);
  EXPECT_EQ(s.mean, 15);
  EXPECT_EQ(s.lower_bound, 20);
  EXPECT_EQ(spread(Sizes{}, 4, 20).imbalance(), 1);
}

TEST(Balance, StateOfAPublishedModel) {
  // 32 blocks of 12 width^2 in 6 bytes, 2 norms each; the embedding and the last norm in 16.
  const std::vector<StateSize> sizes =
      state_sizes(shape("fp8-lm-7b", 100352), load_recipe("fp8-lm-o2"), ModelSplit{});
  int64_t scaled = 0, bytes = 0, elements = 0;
  for (const StateSize& s : sizes) {
    scaled += s.scaled ? s.elements : 0;
    bytes += s.bytes;
    elements += s.elements;
  }
  EXPECT_EQ(scaled, int64_t{32} * 12 * 4096 * 4096);
  EXPECT_EQ(bytes, 6 * scaled + 16 * (elements - scaled));
  EXPECT_EQ(elements, parameter_count(shape("fp8-lm-7b", 100352)));
}

TEST(Balance, PartsOfASplitModelAddUp) {
  const Recipe recipe = load_recipe("fp8-lm-o2");
  const ModelConfig config = shape("fp8-lm-175b", 100352);
  int64_t matrices = 0, tables = 0;
  for (int64_t stage = 0; stage < 4; ++stage)
    for (const StateSize& s : state_sizes(config, recipe, {8, 4, stage})) {
      if (s.scaled) matrices += 8 * s.elements;
      if (s.name.find("embed") != std::string::npos) tables += 8 * s.elements;
    }
  EXPECT_EQ(matrices, int64_t{96} * 12 * 12288 * 12288);
  EXPECT_EQ(tables, 2 * int64_t{100352} * 12288);  // a tied head is on the last stage, too
  EXPECT_NE(error_of(
                [&] {
                  state_sizes(config, recipe, {1, 7, 0});
                },
                ExitCode::usage)
                .find("7 stages"),
            std::string::npos);
}

TEST(Balance, WordsOfModels) {
  EXPECT_EQ(parse_model_word("a").name, "a");
  const ModelWord word = parse_model_word("a-1.3b/tp8/pp4.2");
  EXPECT_EQ(word.name, "a-1.3b");
  EXPECT_EQ(word.split.tensor, 8);
  EXPECT_EQ(word.split.pipeline, 4);
  EXPECT_EQ(word.split.stage, 2);
  for (const char* bad :
       {"", "a/", "a/tp", "a/tp0", "a/tp2.1", "a/pp4.4", "a/pp4.", "a/dp2", "a/tp8x", "a/."})
    EXPECT_NE(error_of([&] { parse_model_word(bad); }, ExitCode::usage).find("NAME/pp4"), std::string::npos)
        << bad;
}

TEST(Balance, MoreRanksThanTheEmbeddingAllows) {
  const std::vector<int> ranks{2, 32};
  const BalancedModel m = balance_model("m", shape("fp8-lm-7b", 100352), load_recipe("fp8-lm-o2"), {}, ranks);
  EXPECT_NEAR(m.rows[0].bytes.imbalance(), 1, 2e-3);
  // The table is larger than the mean load, and stays whole though nothing in it shares a scale.
  EXPECT_EQ(m.rows[1].bytes.most, 16.0 * 100352 * 4096);
  EXPECT_GT(m.rows[1].bytes.imbalance(), 4);
  EXPECT_NEAR(m.rows[1].mixed.imbalance(), 1, 1e-4);
  const BalanceResult result{"fp8-lm-o2", {m}};
  const auto json = nlohmann::json::parse(to_json(result));
  EXPECT_EQ(json["models"][0]["rows"][1]["bytes"]["most"], m.rows[1].bytes.most);
  EXPECT_NE(plot_balance(result).find("</svg>"), std::string::npos);
}

}  // namespace
}  // namespace octavo
