// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iterator>

#include "octavo/base/error.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/weight_source.h"
#include "octavo/recipe/recipe_file.h"

namespace octavo {
namespace fs = std::filesystem;

std::string model_directory(const std::string& directory) {
  if (directory.ends_with(".gguf")) return directory;  // read_hf_config() says what to do with it
  if (fs::exists(directory + "/config.json")) return directory;
  if (fs::exists(directory + "/final/config.json")) return directory + "/final";
  if (!fs::is_directory(directory))
    fail_data(fmt::format("no model at '{}': there is no such directory", directory));
  if (fs::exists(directory + "/checkpoints"))
    fail_data(fmt::format(
        "run '{}' has not finished: give one of {}/checkpoints, or continue it with octavo train --resume {}",
        directory, directory, directory));
  fail_data(fmt::format("no model at '{}': there is no config.json in it", directory));
}

LoadedModel load_model(const std::string& directory, const std::string& recipe, Limits limits,
                       bool need_tokenizer, ThreadPool& pool, std::vector<TensorRecord>* records,
                       std::optional<bool> exact) {
  const std::string path = model_directory(directory);
  const ModelConfig config = read_hf_config(path);
  LoadedModel loaded;
  try {
    loaded.tokenizer = load_tokenizer(path);
  } catch (const Error&) {
    if (need_tokenizer) throw;
  }
  if (loaded.tokenizer && loaded.tokenizer->vocab_size() > config.vocab_size)
    fail_data(fmt::format("{}: the tokenizer has {} tokens, the model {}: they do not belong together", path,
                          loaded.tokenizer->vocab_size(), config.vocab_size));
  limits.cache = std::min(limits.cache, config.context);
  limits.seq = std::min(limits.seq, config.context);
  if (limits.cache > 0) limits.seq = std::min(limits.seq, limits.cache);
  const Recipe numbers = load_recipe(recipe);
  limits.exact = exact.value_or(serves_exactly(numbers));
  // Its kernels read packed weights, and packing them takes longer than multiplying them with one token.
  if (limits.exact && limits.cache > 0) limits.pack_weights = true;
  loaded.model = std::make_unique<Transformer>(config, numbers, Purpose::inference, pool);
  const WeightSource weights(path, config, loaded.model->parameters());
  loaded.model->allocate(limits);
  loaded.model->pass().records = records;
  load_hf_weights(weights, *loaded.model);
  loaded.model->pass().records = nullptr;
  return loaded;
}

bool serves_exactly(const Recipe& recipe) {
  constexpr Role kOperands[] = {Role::gemm_fprop_input,       Role::gemm_fprop_weight,
                                Role::gemm_dgrad_grad_output, Role::gemm_dgrad_weight,
                                Role::gemm_wgrad_grad_output, Role::gemm_wgrad_input};
  return std::all_of(std::begin(kOperands), std::end(kOperands),
                     [&](Role role) { return recipe.role(role).scaling.kind == ScalingKind::static_; });
}

std::string recipe_for(const std::string& directory, const std::string& asked) {
  if (!asked.empty()) return asked;
  const std::string kept = model_directory(directory) + "/recipe.toml";
  return fs::exists(kept) ? kept : "bf16";
}

}  // namespace octavo
