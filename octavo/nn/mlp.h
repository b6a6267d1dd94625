// SPDX-License-Identifier: Apache-2.0
// The feed-forward half of a block: down(act(up(x))), or down(act(gate(x)) * up(x)).
#pragma once
#include <array>
#include <string>
#include <vector>

#include "octavo/nn/linear.h"
#include "octavo/nn/model_config.h"

namespace octavo {

struct MlpSaved {
  SavedOperand input;   ///< codes of the normed stream
  SavedOperand hidden;  ///< codes of the activation's output
  Matrix pre;           ///< [rows, ffn] or, gated, [rows, 2 * ffn]: gate then up; in the activation format

  Arena::Block pre_block;
};

/// Gradients of what the input layers gave, as codes: up, or gate and up.
using MlpGrads = std::array<Operand, 2>;

class Mlp {
 public:
  /// `out_factor`: of the multiplier of the last product.
  Mlp(const std::string& prefix, const ModelConfig& config, const Build& build, double out_factor);

  MlpSaved make_saved(const Build& build) const;
  /// The input's codes, the hidden codes, and what the activation read (with the scales of the codes); and
  /// payloads that only the forward pass reads.
  void plan_input(Arena& arena, MlpSaved& saved, int64_t rows) const;
  void plan_hidden(Arena& arena, MlpSaved& saved, int64_t rows) const;
  void plan(Arena& arena, MlpSaved& saved, int64_t rows) const;
  void plan_forward(Arena& arena, MlpSaved& saved, int64_t rows) const;
  void bind(const Arena& arena, MlpSaved& saved, int64_t rows) const;
  std::vector<Linear*> linears();
  bool wants_grad_amax() const { return down_.wants_grad_amax(); }  ///< of dy

  void forward(Pass& pass, MlpSaved& saved, Matrix y) const;
  /// Forward without the last product: what backward() needs of [rows].
  void forward_inner(Pass& pass, MlpSaved& saved, int64_t rows) const;
  /// dx, overwritten or added to, from dy; `amax_dy`: max |dy| where known. Without `hidden_kept` the hidden
  /// codes are made again on the way. The gradients of the weights that read saved.input are left to
  /// weight_grads(), within the same WorkspaceScope.
  MlpGrads backward(Pass& pass, ConstMatrix dy, const float* amax_dy, MlpSaved& saved, bool hidden_kept,
                    Matrix dx, bool accumulate) const;
  void weight_grads(Pass& pass, const MlpSaved& saved, const MlpGrads& grads) const;

 private:
  void activate(Pass& pass, MlpSaved& saved, int64_t rows) const;

  std::string prefix_;
  Format format_;
  Activation activation_;
  int64_t width_, ffn_;
  std::vector<Linear> in_;  ///< up, or gate and up
  Linear down_;
};

}  // namespace octavo
