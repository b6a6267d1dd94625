// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "octavo/data/tokenizer.h"
#include "octavo/nn/transformer.h"

namespace octavo {

/// A model directory opened for inference.
struct LoadedModel {
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Tokenizer>
      tokenizer;  ///< nullptr when the directory has none and `need_tokenizer` was false
};

/// Reads `directory` (Hugging Face layout: a model, a run's final/ or a checkpoint) in the numbers of
/// `recipe`. limits.seq and limits.cache are cut to the model's context. A run directory stands for its
/// final/. `weights`, if any, gets a record of every weight that is quantized. `exact` decides limits.exact;
/// nothing: serves_exactly(). Exact generation keeps packed weights. Throws bad_data when tokenizer and model
/// disagree about the vocabulary.
LoadedModel load_model(const std::string& directory, const std::string& recipe, Limits limits,
                       bool need_tokenizer, ThreadPool& pool, std::vector<TensorRecord>* weights = nullptr,
                       std::optional<bool> exact = {});

/// Whether inference in this recipe has the bits of training unless it is told otherwise: where every operand
/// of a GEMM has static scaling (arXiv:2502.05967). Then no number depends on which other tokens are read
/// along, and what is left is the order of sums, see Limits::exact.
bool serves_exactly(const Recipe& recipe);

/// The recipe to run `directory` in: `asked` where it is not empty, else the recipe.toml that `octavo
/// quantize` left beside the weights, else bf16.
std::string recipe_for(const std::string& directory, const std::string& asked);

/// The directory that holds the weights: `directory` itself, or its final/ when it is a run directory.
std::string model_directory(const std::string& directory);

}  // namespace octavo
