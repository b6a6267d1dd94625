// SPDX-License-Identifier: Apache-2.0
// How evenly whole tensors divide among ranks (FP8-LM's ZeRO, arXiv:2310.18313, algorithm 1), from shapes
// alone.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "octavo/nn/model_config.h"
#include "octavo/recipe/recipe.h"

namespace octavo {

/// The part of a model that one group of data-parallel ranks holds.
struct ModelSplit {
  int64_t tensor = 1;    ///< ranks that share each matrix and the vocabulary; norms and biases are on all
  int64_t pipeline = 1;  ///< stages of as many blocks each
  int64_t stage = 0;     ///< the first has the embedding, the last norm and head (of a tied one a copy)
};

/// "NAME[/tpN][/ppN[.STAGE]]": "fp8-lm-175b/tp8/pp4" is the first of four stages, "/pp4.2" the third.
struct ModelWord {
  std::string name;
  ModelSplit split;
};
/// Throws usage.
ModelWord parse_model_word(const std::string& word);

/// What training keeps of a parameter: master, gradient and moments.
struct StateSize {
  std::string name;
  int64_t elements = 0, bytes = 0;
  bool scaled = false;  ///< a scale serves the whole of it, so that it cannot be cut
};
/// In the model's order; nothing is allocated. Throws usage when the blocks cannot be divided among the
/// stages.
std::vector<StateSize> state_sizes(const ModelConfig& config, const Recipe& recipe, const ModelSplit& split);

/// Loads of ranks, in bytes or elements.
struct LoadSpread {
  double least = 0, most = 0, mean = 0;
  double lower_bound =
      0;  ///< of the largest load, whoever assigns: the mean or the largest piece that stays whole
  double imbalance() const { return most / mean; }
  /// Share of a buffer that is padded to the largest load, as the released code's is, and holds nothing.
  double padding() const { return 1 - mean / most; }
};
/// `sizes` by assign_tensors(), and `even` cut into equal slices on top.
LoadSpread spread(std::span<const int64_t> sizes, int ranks, int64_t even = 0);

/// The largest load of the greedy assignment is at most this many times the best possible (Graham 1969).
inline double graham_factor(int ranks) { return 4.0 / 3 - 1.0 / (3.0 * ranks); }

/// One model on one number of ranks.
struct BalanceRow {
  int ranks = 1;
  LoadSpread bytes;     ///< all tensors whole: what octavo does
  LoadSpread elements;  ///< the same by elements, which the released code sorts by
  LoadSpread mixed;     ///< bytes, where only tensors with a scale stay whole and the others are cut evenly
};

struct BalancedModel {
  std::string label;  ///< the word, and the vocabulary
  int64_t vocab_size = 0, elements = 0, bytes = 0;
  size_t tensors = 0;
  StateSize largest;  ///< by bytes
  std::vector<BalanceRow> rows;
};

struct BalanceResult {
  std::string recipe;
  std::vector<BalancedModel> models;
};

BalancedModel balance_model(const std::string& label, const ModelConfig& config, const Recipe& recipe,
                            const ModelSplit& split, std::span<const int> ranks);

/// Tables for people, UTF-8, ending with a line end.
std::string to_text(const BalanceResult& result);
/// One JSON object on one line, schema "octavo-balance-1" (docs/cli.md).
std::string to_json(const BalanceResult& result);
/// Largest load over mean against ranks, a curve a model: all tensors whole, and only those with a scale.
std::string plot_balance(const BalanceResult& result);

}  // namespace octavo
