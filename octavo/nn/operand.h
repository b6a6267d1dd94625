// SPDX-License-Identifier: Apache-2.0
// What a recipe does to the operands of a GEMM: an activation kept for the backward pass, a weight and its
// compute copy, a gradient used twice and dropped.
#pragma once
#include <string>

#include "octavo/nn/parameter.h"
#include "octavo/nn/pass.h"
#include "octavo/recipe/recipe.h"
#include "octavo/tensor/scaled_tensor.h"

namespace octavo {

/// How one tensor of one layer becomes codes. Holds no data.
class OperandSlot {
 public:
  /// `tensor` and `role` name it in records and checkpoints ("h.3.mlp.c_fc", "gemm.input").
  OperandSlot(std::string tensor, std::string role, const RoleSpec& spec, Scaler& scaler);

  Format format() const { return spec_.format; }
  /// True when data of this format needs no conversion.
  bool direct(Format data) const { return data == spec_.format; }
  /// Codes and scales of x into `out`. `amax`: max |x| where the producer already knows it, else nullptr.
  /// `column_sums`: [cols], the sums of the columns of x are added to it in the same pass, or nullptr.
  /// Returns the seed that stochastic rounding used.
  uint64_t quantize(Pass& pass, ConstMatrix x, const float* amax, ScaledTensor& out,
                    float* column_sums = nullptr) const;
  /// Whether the scale does not depend on the data about to be quantized, so that its producer can write
  /// codes.
  bool scale_is_known(const Pass& pass) const;
  /// Chooses that scale and tells the producer how to encode; observe() afterwards, with max |x|.
  CodesOut begin_codes(Pass& pass, ScaledTensor& out) const;
  void observe(Pass& pass, float amax) const;
  /// The rule for codes whose scale is chosen.
  CodesOut encoding(const ScaledTensor& out, uint64_t seed) const;
  /// The same codes again from the same x, after the scaler's state was restored: a scale that depends on
  /// history is the last one, not chosen anew.
  void requantize(Pass& pass, ConstMatrix x, ScaledTensor& out) const;
  int64_t scales(int64_t rows, int64_t cols) const { return scale_count(spec_.granularity, rows, cols); }
  bool wants_amax() const;
  const RoleSpec& spec() const { return spec_; }

 private:
  std::string tensor_, role_;
  RoleSpec spec_;
  int slot_;
};

/// The input of one or more linear layers: produced in the activation format, kept as the recipe's codes.
class SavedOperand {
 public:
  SavedOperand(OperandSlot slot, Format activation) : slot_(std::move(slot)), activation_(activation) {}
  /// The codes; and the scales, which stay when the codes are made again.
  void plan(Arena& arena, int64_t rows, int64_t cols);
  void plan_scales(Arena& arena, int64_t rows, int64_t cols);
  void bind(const Arena& arena);

  /// Where the producer writes: the saved memory itself when nothing is converted, else `own` or a temporary
  /// of the pass.
  struct Draft {
    Matrix data;            ///< data == nullptr: the producer writes `codes` at once
    float* amax = nullptr;  ///< wanted from the producer, or nullptr
    CodesOut codes{};
  };
  Draft begin(Pass& pass, int64_t rows, Matrix own = {}) const;
  /// Converts the draft. Call within the WorkspaceScope of begin().
  void finish(Pass& pass, const Draft& draft);
  /// For a producer that can make the codes again in its backward pass, to the same bits.
  CodesOut again(int64_t rows) const;
  const ScaledTensor& get() const { return tensor_; }
  bool direct() const { return slot_.direct(activation_); }

 private:
  OperandSlot slot_;
  Format activation_;
  int64_t rows_ = 0, cols_ = 0;
  uint64_t seed_ = 0;
  Arena::Block codes_block_, scales_block_;
  Matrix storage_;
  ScaledTensor tensor_;
};

/// A matrix parameter and its compute copy.
class Weight {
 public:
  Weight(Parameter& parameter, OperandSlot slot) : parameter(&parameter), slot_(std::move(slot)) {}
  void plan(Arena& arena);
  /// Room for the weight packed for the GEMMs that read it, made with each refresh: forward, and backward if
  /// `training`. `input`: the format of the other operand of either.
  void plan_packed(Arena& arena, Format input, bool training);
  void bind(const Arena& arena);
  /// Makes the compute copy of the master. Once per optimizer step.
  void refresh(Pass& pass);
  /// The compute copy as it was when the master and the scaler's state were saved.
  void requantize(Pass& pass);
  /// As refresh(), from values that are not kept (a checkpoint being read).
  void refresh_from(Pass& pass, const float* values, const float* amax);
  /// True when the GEMMs read the FP32 master itself.
  Format format() const { return slot_.format(); }
  bool reads_master() const { return slot_.direct(Format::fp32); }
  const ScaledTensor& get() const { return tensor_; }
  /// For y = x W^T (`forward`) or dx = dy W, or nullptr.
  const void* packed(bool forward) const { return forward ? packed_forward_ : packed_backward_; }

  Parameter* parameter;

 private:
  GemmArgs product(bool forward) const;
  void pack(Pass& pass) const;

  OperandSlot slot_;
  Arena::Block codes_block_, scales_block_, forward_block_, backward_block_;
  ScaledTensor tensor_;
  Format input_ = Format::fp32;
  void *packed_forward_ = nullptr, *packed_backward_ = nullptr;
};

/// A view of a scaled tensor as a GEMM operand.
GemmOperand gemm_operand(const ScaledTensor& tensor, bool k_contiguous);

}  // namespace octavo
