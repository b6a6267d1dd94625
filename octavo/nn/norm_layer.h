// SPDX-License-Identifier: Apache-2.0
// LayerNorm or RMSNorm on the residual stream: adds the branch that comes in, keeps the sum for the backward
// pass.
#pragma once
#include <string>

#include "octavo/nn/model_config.h"
#include "octavo/nn/operand.h"
#include "octavo/nn/parameter.h"
#include "octavo/nn/pass.h"

namespace octavo {

/// What the backward pass needs of one application of a norm: [rows] statistics and the stream after the
/// addition.
struct NormSaved {
  Matrix stream;  ///< [rows, width]
  float* mean = nullptr;
  float* rstd = nullptr;

  Arena::Block stream_block, mean_block, rstd_block;
  void plan_stream(Arena& arena, Format format, int64_t rows, int64_t width);
  void plan_statistics(Arena& arena, int64_t rows, bool layer_norm);
  void bind(const Arena& arena, Format format, int64_t rows, int64_t width);
};

class NormLayer {
 public:
  /// Registers `prefix`.weight and, for LayerNorm, `prefix`.bias.
  NormLayer(const std::string& prefix, const ModelConfig& config, ParameterSet& parameters);

  /// saved.stream = stream + branch (branch.data == nullptr: the stream alone), y = norm(saved.stream).
  void forward(Pass& pass, ConstMatrix stream, ConstMatrix branch, NormSaved& saved,
               const SavedOperand::Draft& y) const;
  /// dstream += d norm / d stream · dy. dgamma and dbeta accumulate. `amax`: becomes max |dstream|, or none.
  /// `codes`: of forward()'s y, made again, or none.
  void backward(Pass& pass, ConstMatrix dy, const NormSaved& saved, Matrix dstream, bool accumulate,
                float* amax, const CodesOut& codes = {}) const;

 private:
  NormKind kind_;
  float eps_;
  Parameter* gamma_;
  Parameter* beta_ = nullptr;
};

}  // namespace octavo
