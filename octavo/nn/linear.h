// SPDX-License-Identifier: Apache-2.0
// y = x W^T + b, forward and backward, in the recipe's numbers.
#pragma once
#include <memory>
#include <string>

#include "octavo/nn/operand.h"

namespace octavo {

/// What a layer is made from.
struct Build {
  const Recipe& recipe;
  Scaler& scaler;
  ParameterSet& parameters;
  int block = -1;  ///< index of the transformer block, -1 outside
  int blocks = 0;
};

class Linear {
 public:
  struct Shape {
    int64_t in = 0, out = 0;
    bool bias = false;
    double init_std = 0.02;
    bool transposed_on_disk = false;
  };
  /// Registers `name`.weight and `name`.bias; with `tied` the weight is that parameter and none is
  /// registered.
  Linear(const std::string& name, const Shape& shape, const Build& build, Parameter* tied = nullptr);

  /// The spec of the input: several layers that share one input share its codes.
  const RoleSpec& input_spec() const { return specs_.fprop_input; }
  Weight& weight() { return weight_; }
  void plan_packed(Arena& arena, bool training) {
    if (specs_.accumulate == Accumulate::fp32)
      weight_.plan_packed(arena, specs_.fprop_input.format, training);
  }
  const std::string& name() const { return name_; }
  const Shape& shape() const { return shape_; }
  /// Whether backward() would use max |dy| from the producer.
  bool wants_grad_amax() const { return grad_.wants_amax(); }

  /// y [rows, out] (strided is fine) from codes x [rows, in].
  void forward(Pass& pass, const ScaledTensor& x, Matrix y) const;
  /// dx (+)= dy W, dW += dy^T x, db += column sums of the unquantized dy. dy is quantized once for both
  /// products. `amax_dy`: max |dy| where known. dx.data == nullptr: not wanted.
  void backward(Pass& pass, ConstMatrix dy, const float* amax_dy, const ScaledTensor& x, Matrix dx,
                bool accumulate_dx) const;

  /// The three steps of backward(), for callers that do something between them: dy as codes (in the
  /// workspace of the caller's scope) with db; dx; dW.
  ScaledTensor grad_codes(Pass& pass, ConstMatrix dy, const float* amax_dy) const;
  void input_grad(Pass& pass, const ScaledTensor& dy, Matrix dx, bool accumulate) const;
  void weight_grad(Pass& pass, const ScaledTensor& dy, const ScaledTensor& x) const;

 private:
  /// What all three products have in common.
  GemmArgs product() const;

  std::string name_;
  Shape shape_;
  LinearSpecs specs_;
  Weight weight_;
  OperandSlot grad_;
  Parameter* bias_ = nullptr;
};

}  // namespace octavo
