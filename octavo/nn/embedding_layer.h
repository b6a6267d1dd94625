// SPDX-License-Identifier: Apache-2.0
// Token (and learned position) embeddings at one end, final norm (where there is one), LM head and loss at
// the other; they may share a matrix.
#pragma once
#include <functional>
#include <memory>
#include <optional>

#include "octavo/nn/batch.h"
#include "octavo/nn/linear.h"
#include "octavo/nn/model_config.h"
#include "octavo/nn/norm_layer.h"

namespace octavo {

class EmbeddingLayer {
 public:
  EmbeddingLayer(const ModelConfig& config, const Build& build);
  Parameter& table() { return *table_; }
  /// Where lookups read: a compute copy of its own, or the LM head's when it holds the same numbers.
  void read_from(Weight& weight) { source_ = &weight; }
  Weight& own() { return own_; }
  bool shares() const { return source_ != &own_; }

  void forward(Pass& pass, const Batch& batch, Matrix out) const;
  void backward(Pass& pass, const Batch& batch, ConstMatrix dout) const;

 private:
  Parameter* table_;
  Parameter* positions_ = nullptr;
  Weight own_;
  const Weight* source_;
};

/// Sums over the counted targets of a batch.
struct LossSum {
  double loss = 0;     ///< natural units
  int64_t tokens = 0;  ///< targets that count
};

class Head {
 public:
  /// `tied`: the embedding's parameter, or nullptr.
  Head(const ModelConfig& config, const Build& build, Parameter* tied);
  Linear& linear() { return linear_; }

  void plan(Arena& arena, int64_t rows);
  void bind(const Arena& arena, int64_t rows);

  /// Without a final norm: what loss() and logits() read, for the last block to write.
  SavedOperand* input() { return norm_ ? nullptr : &input_; }
  /// Where the final norm keeps what it normalizes; for a stream that nothing is to be added to.
  Matrix norm_input(int64_t rows) const { return norm_ ? rows_of(saved_.input, 0, rows) : Matrix{}; }
  /// Final norm of (skip * stream + branch), where there is one.
  void normalize(Pass& pass, ConstMatrix stream, ConstMatrix branch, double skip);
  /// Loss of every row against targets[rows]; with `dstream` also the whole backward pass of the head,
  /// gradients times grad_scale; `amax` then becomes max |dstream|. Logits exist for a limited number of rows
  /// at a time, never for all of a long batch.
  LossSum loss(Pass& pass, const int32_t* targets, int64_t rows, float grad_scale, const Matrix* dstream,
               float* amax);
  /// Logits of chosen rows of the last normalize() in the wide format, a limited number of rows at a time:
  /// sink(first, logits) gets those of rows[first], rows[first + 1], ..., which are gone when it returns.
  void row_logits(Pass& pass, const int64_t* rows, int64_t count,
                  const std::function<void(int64_t first, ConstMatrix logits)>& sink);
  /// Logits of chosen rows of the last normalize(), widened to FP32: out [count, vocab].
  void logits(Pass& pass, const int64_t* rows, int64_t count, float* out);

 private:
  const ModelConfig& config_;
  Format format_;
  std::optional<NormLayer> norm_;
  Linear linear_;
  NormSaved saved_;
  SavedOperand input_;
  Arena::Block losses_block_;
  float* losses_ = nullptr;
};

}  // namespace octavo
