// SPDX-License-Identifier: Apache-2.0
// A language model (model_config.h: GPT-2, Llama, or a GPT under a parametrization) in the numbers of a
// recipe.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "octavo/nn/block.h"
#include "octavo/nn/embedding_layer.h"
#include "octavo/nn/model_config.h"
#include "octavo/recipe/recipe.h"

namespace octavo {

/// How much a model is allocated for.
struct Limits {
  int64_t batch = 1, seq = 1;  ///< tokens of the largest pass
  int64_t cache = 0;           ///< inference: rows of key/value cache a sequence
  Kept kept = {};              ///< training: what is not computed again in the backward pass
  bool pack_weights =
      false;  ///< keep weights packed for the GEMMs as well: 2 bytes an element for each direction
  /// Inference: products and attention sum in the order of the training forward pass, so that logits have its
  /// bits however the tokens come in (where no scale depends on the data). Slower token by token. Training
  /// has that order always.
  bool exact = false;
  ParameterSet::Layout state{};  ///< training
};

class Transformer {
 public:
  /// Throws unsupported, naming the role, when the recipe asks for what the engine cannot do. `pool` must
  /// outlive the model.
  Transformer(const ModelConfig& config, const Recipe& recipe, Purpose purpose, ThreadPool& pool);
  Transformer(const Transformer&) = delete;
  Transformer& operator=(const Transformer&) = delete;

  /// Plans by running one pass without data, then allocates once; memory().categories() is both plan and
  /// allocation. May be called again: what was held is given back first.
  void allocate(const Limits& limits);
  /// The plan alone: no memory is taken.
  const Arena& plan(const Limits& limits);
  const Arena& memory() const { return arena_; }

  const ModelConfig& config() const { return config_; }
  const Recipe& recipe() const { return recipe_; }
  const Limits& limits() const { return limits_; }
  ParameterSet& parameters() { return parameters_; }
  const ParameterSet& parameters() const { return parameters_; }
  Scaler& scaler() { return scaler_; }
  /// The pass whose timers and records the caller may read or set.
  Pass& pass() { return *pass_; }

  void initialize(uint64_t seed);
  /// Inference: random values for benchmarks, one parameter after the other, so that dropped masters are
  /// never needed.
  void initialize_for_inference(uint64_t seed);
  /// Bytes of weights one decoded token reads: compute copies, masters where they are computed with, each
  /// once.
  int64_t weight_bytes();
  /// Sets one parameter from FP32 values; the compute copy follows at once, so a model for inference need not
  /// keep the master.
  /// `as_saved`: a training state being read back, whose scales the scaler holds already.
  void set_parameter(Parameter& parameter, const float* values, bool as_saved = false);
  /// Compute copies of all masters. After initialize() and every optimizer step.
  void refresh_weights();
  /// The same in two parts, for masters that are divided among ranks: of the parts of divided ones that are
  /// here; of those that are here as a whole.
  void refresh_divided_weights();
  void refresh_whole_weights();
  /// What layers compute with instead of the master.
  const std::vector<Weight*>& weights_of(const Parameter& parameter) const {
    return weights_of_.at(&parameter);
  }
  bool in_block(const Weight& weight) const;
  /// Training, after masters and the scaler's state were read back: the compute copies refresh_weights() made
  /// last, bit for bit, given the same pass().seed.
  void requantize_weights();

  /// Adds the gradients of (sum of the losses) * grad_scale.
  LossSum train(const Batch& batch, const int32_t* targets, float grad_scale);
  LossSum evaluate(const Batch& batch, const int32_t* targets);

  /// Inference without the cache: reads whole sequences at once. row_logits() then gives the logits of any of
  /// their rows.
  void read(const Batch& batch) { forward(batch, false); }
  /// Logits of chosen rows of the last read() in the recipe's wide format, never more than 128 MiB of them at
  /// a time: sink(first, logits) gets those of rows[first], rows[first + 1], ..., [count, vocab], which are
  /// gone when it returns. The sink may use another model, but not this one.
  void row_logits(std::span<const int64_t> rows,
                  const std::function<void(int64_t first, ConstMatrix logits)>& sink) {
    head_->row_logits(*pass_, rows.data(), static_cast<int64_t>(rows.size()), sink);
  }

  /// Inference with the cache: appends batch.seq tokens to every sequence and returns FP32 logits of the last
  /// one of each, [batch, vocab], valid until the next call. positions are filled in by the cache length.
  std::span<const float> step(int64_t batch, int64_t seq, const int32_t* tokens);
  int64_t cache_length() const { return cache_.empty() ? 0 : cache_[0].length; }
  /// Forgets all but the first `length` tokens of every sequence.
  void reset_cache(int64_t length = 0);

 private:
  void reserve(const Limits& limits);
  void bind();
  std::vector<Weight*> weights();
  /// fn(weight) for each, with draws of stochastic rounding that are its own.
  template <class Fn>
  void for_each_weight(Fn fn);
  Stream embed(const Batch& batch);
  void before_block(int block, int next);
  void forward(const Batch& batch, bool cached);
  void rehearse();

  ModelConfig config_;
  Recipe recipe_;
  Purpose purpose_;
  ThreadPool& pool_;
  Scaler scaler_;
  ParameterSet parameters_;
  RopeTables rope_;
  std::unique_ptr<EmbeddingLayer> embedding_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<Head> head_;
  std::map<const Parameter*, std::vector<Weight*>> weights_of_;
  std::vector<size_t> block_parameters_;  ///< index of the first parameter of each block, then of the head
  std::vector<BlockSaved> saved_;         ///< one a block; parts that are not kept share their memory
  std::vector<KvCache> cache_;

  Limits limits_;
  Arena arena_;
  Arena::Block branch_block_, workspace_block_, logits_block_, positions_block_;
  std::vector<std::pair<Arena::Block, Arena::Block>> cache_blocks_;
  size_t workspace_bytes_ = 0;
  Matrix branch_;
  Workspace workspace_;
  std::unique_ptr<Pass> pass_;
};

/// The forward product of one linear layer with `rows` rows: tells which kernel and which unit a run lives
/// on.
GemmArgs typical_gemm(const ModelConfig& config, const Recipe& recipe, int64_t rows);

}  // namespace octavo
