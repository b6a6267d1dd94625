// SPDX-License-Identifier: Apache-2.0
// LayerNorm or RMSNorm between the residual stream and its branches. In front of a branch it adds the branch
// before to the stream and keeps the sum for the backward pass; at the end of a branch it adds its own
// result.
#pragma once
#include <string>

#include "octavo/nn/model_config.h"
#include "octavo/nn/operand.h"
#include "octavo/nn/parameter.h"
#include "octavo/nn/pass.h"

namespace octavo {

/// What the backward pass needs of one application of a norm: [rows] statistics, and what was normalized: the
/// stream after the addition, or the branch.
struct NormSaved {
  Matrix input;  ///< [rows, width]
  float* mean = nullptr;
  float* rstd = nullptr;

  Arena::Block input_block, mean_block, rstd_block;
  void plan_input(Arena& arena, Format format, int64_t rows, int64_t width);
  void plan_statistics(Arena& arena, int64_t rows, bool layer_norm);
  void bind(const Arena& arena, Format format, int64_t rows, int64_t width);
};

class NormLayer {
 public:
  /// Registers `prefix`.weight and, for LayerNorm, `prefix`.bias.
  NormLayer(const std::string& prefix, const ModelConfig& config, ParameterSet& parameters);

  /// saved.input = skip * stream + branch (branch.data == nullptr: the stream alone), y = norm(saved.input).
  void forward(Pass& pass, ConstMatrix stream, ConstMatrix branch, double skip, NormSaved& saved,
               const SavedOperand::Draft& y) const;
  /// dstream = skip * dstream + d norm / d stream · dy; skip 0: dstream holds nothing yet. dgamma and dbeta
  /// accumulate. `amax`: becomes max |dstream|, or none. `codes`: of forward()'s y, made again, or none.
  void backward(Pass& pass, ConstMatrix dy, const NormSaved& saved, double skip, Matrix dstream, float* amax,
                const CodesOut& codes = {}) const;

  /// y = skip * stream + branch * norm(saved.input), by `factors`. y.data may be the stream; with y.codes its
  /// codes are written too.
  void add(Pass& pass, ConstMatrix stream, const ResidualFactors& factors, NormSaved& saved,
           const SavedOperand::Draft& y) const;
  /// dbranch = factors.branch * d norm / d branch · dstream, then dstream *= factors.skip. `amax`: becomes
  /// max |dbranch|, or none.
  void add_backward(Pass& pass, Matrix dstream, const NormSaved& saved, const ResidualFactors& factors,
                    Matrix dbranch, float* amax) const;

 private:
  NormForward forward_args(NormSaved& saved, const SavedOperand::Draft& y) const;
  NormBackward backward_args(ConstMatrix dy, const NormSaved& saved) const;

  NormKind kind_;
  float eps_;
  Parameter* gamma_;
  Parameter* beta_ = nullptr;
};

}  // namespace octavo
