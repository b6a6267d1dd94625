// SPDX-License-Identifier: Apache-2.0
// y = multiplier * x W^T + b, forward and backward, in the recipe's numbers.
#pragma once
#include <memory>
#include <string>

#include "octavo/nn/model_config.h"
#include "octavo/nn/operand.h"

namespace octavo {

/// What a layer is made from.
struct Build {
  const ModelConfig& config;
  const Recipe& recipe;
  Scaler& scaler;
  ParameterSet& parameters;
  Purpose purpose;
  int block = -1;  ///< index of the transformer block, -1 outside
  int blocks = 0;
};

class Linear {
 public:
  struct Shape {
    int64_t in = 0, out = 0;
    bool bias = false;
    Layer layer = Layer::hidden;
    bool transposed_on_disk = false;
    double factor = 1;  ///< of the multiplier that the scheme gives such a layer
  };
  /// Registers `name`.weight and `name`.bias; with `tied` the weight is that parameter and none is
  /// registered.
  Linear(const std::string& name, const Shape& shape, const Build& build, Parameter* tied = nullptr);

  /// What the recipe says about the input: several layers that share one input share its codes.
  OperandUses input() const { return input_uses(specs_); }
  Weight& weight() { return weight_; }
  void plan_packed(Arena& arena, bool training) {
    if (specs_.accumulate == Accumulate::fp32)
      weight_.plan_packed(arena, specs_.fprop_input.format, specs_.dgrad_grad_output.format, training);
  }
  const std::string& name() const { return name_; }
  const Shape& shape() const { return shape_; }
  /// Whether backward() would use max |dy| from the producer.
  bool wants_grad_amax() const { return grad_.wants_amax(); }

  /// y [rows, out] (strided is fine) from codes x [rows, in].
  void forward(Pass& pass, const Operand& x, Matrix y) const;
  /// dx (+)= dy W, dW += dy^T x, db += column sums of the unquantized dy. dy is quantized once for both
  /// products, or once for each. `amax_dy`: max |dy| where known. dx.data == nullptr: not wanted.
  void backward(Pass& pass, ConstMatrix dy, const float* amax_dy, const Operand& x, Matrix dx,
                bool accumulate_dx) const;

  /// The three steps of backward(), for callers that do something between them: dy as codes (in the
  /// workspace of the caller's scope) with db; dx; dW.
  Operand grad_codes(Pass& pass, ConstMatrix dy, const float* amax_dy) const;
  void input_grad(Pass& pass, const Operand& dy, Matrix dx, bool accumulate) const;
  void weight_grad(Pass& pass, const Operand& dy, const Operand& x) const;

 private:
  /// The gradient of one pass, added to what is there, becomes codes.
  void store_weight_grad(Pass& pass, GemmArgs args) const;
  /// What all three products have in common.
  GemmArgs product() const;

  std::string name_;
  Shape shape_;
  float multiplier_;  ///< of all three products
  LinearSpecs specs_;
  Weight weight_;
  OperandSlots grad_;
  Parameter* bias_ = nullptr;
};

}  // namespace octavo
