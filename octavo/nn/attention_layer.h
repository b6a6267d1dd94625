// SPDX-License-Identifier: Apache-2.0
// Self-attention with its projections: one fused qkv matrix or separate ones (Llama), rotary positions where
// the model has them.
#pragma once
#include <array>
#include <string>
#include <vector>

#include "octavo/nn/batch.h"
#include "octavo/nn/linear.h"
#include "octavo/nn/model_config.h"

namespace octavo {

/// cos and sin of the first positions: [positions, head_dim / 2] each.
struct RopeTables {
  std::vector<float> cos, sin;
  static RopeTables make(const ModelConfig& config, int64_t positions);
};

/// Kept between forward and backward.
struct AttentionSaved {
  SavedOperand input;    ///< codes of the normed stream
  SavedOperand output;   ///< codes of the attention output
  Matrix qkv;            ///< [rows, qkv_width] in the activation format, after rotation
  Matrix heads_out;      ///< [rows, q_width]; shares memory with `output` where that is not converted
  float* lse = nullptr;  ///< [batch, heads, seq]

  Arena::Block qkv_block, heads_out_block, lse_block;
};

/// Gradients of queries, keys and values as codes: one fused, or three.
using QkvGrads = std::array<Operand, 3>;

class AttentionLayer {
 public:
  /// `out_factor`: of the multiplier of the output projection.
  AttentionLayer(const std::string& prefix, const ModelConfig& config, const Build& build,
                 const RopeTables* rope, double out_factor);

  AttentionSaved make_saved(const Build& build) const;
  /// The input's codes, everything else, and payloads that only the forward pass reads.
  void plan_input(Arena& arena, AttentionSaved& saved, int64_t rows) const;
  void plan(Arena& arena, AttentionSaved& saved, int64_t rows) const;
  void plan_forward(Arena& arena, AttentionSaved& saved, int64_t rows) const;
  void bind(const Arena& arena, AttentionSaved& saved, int64_t rows) const;
  std::vector<Linear*> linears();
  bool wants_grad_amax() const { return out_.wants_grad_amax(); }  ///< of dy

  /// y [rows, width] from saved.input. With a cache, keys and values of the batch are appended to it first.
  void forward(Pass& pass, const Batch& batch, AttentionSaved& saved, KvCache* cache, Matrix y) const;
  /// dx, overwritten or added to, from dy; `amax_dy`: max |dy| where known. The gradients of the weights that
  /// read saved.input are left to weight_grads(), within the same WorkspaceScope.
  QkvGrads backward(Pass& pass, const Batch& batch, ConstMatrix dy, const float* amax_dy,
                    AttentionSaved& saved, Matrix dx, bool accumulate) const;
  void weight_grads(Pass& pass, const AttentionSaved& saved, const QkvGrads& grads) const;

 private:
  AttentionShape shape(const Batch& batch) const;
  void rotate(Pass& pass, const Batch& batch, Matrix qkv, bool inverse) const;

  std::string prefix_;
  const ModelConfig& config_;
  Format activation_;
  const RopeTables* rope_;
  std::vector<Linear> qkv_;  ///< one fused, or q, k, v
  Linear out_;
};

/// Columns [first, first + count) of a view.
inline Matrix columns_of(const Matrix& m, int64_t first, int64_t count) {
  return {static_cast<std::byte*>(m.data) + first * bytes(m.format), m.format, m.rows, count, m.stride};
}

}  // namespace octavo
