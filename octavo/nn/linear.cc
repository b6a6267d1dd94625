// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/linear.h"

#include <fmt/format.h>

#include "octavo/base/error.h"
#include "octavo/kernels/vector.h"

namespace octavo {
namespace {

Parameter& add_matrix(const std::string& name, const Linear::Shape& shape, ParameterSet& parameters) {
  Parameter p;
  p.name = name + ".weight";
  p.rows = shape.out;
  p.cols = shape.in;
  p.init = Init::normal;
  p.init_std = shape.init_std;
  p.decay = true;
  p.transposed_on_disk = shape.transposed_on_disk;
  return parameters.add(p);
}

}  // namespace

Linear::Linear(const std::string& name, const Shape& shape, const Build& build, Parameter* tied)
    : name_(name),
      shape_(shape),
      specs_(build.recipe.linear(name, build.block, build.blocks)),
      weight_(tied ? *tied : add_matrix(name, shape, build.parameters),
              OperandSlot(name, "gemm.weight", specs_.fprop_weight, build.scaler)),
      grad_(name, "gemm.grad_output", specs_.dgrad_grad_output, build.scaler) {
  weight_.parameter->overwritten_first = true;
  if (!shape.bias) return;
  Parameter bias;
  bias.name = name + ".bias";
  bias.cols = shape.out;
  bias_ = &build.parameters.add(bias);
}

GemmArgs Linear::product() const {
  GemmArgs args;
  args.round_to_fp16 = specs_.output == Format::fp16;
  if (specs_.accumulate == Accumulate::fp16)
    args.fp16_sums = specs_.sums == SumsOf::codes ? Fp16Sums::codes : Fp16Sums::values;
  return args;
}

void Linear::forward(Pass& pass, const ScaledTensor& x, Matrix y) const {
  GemmArgs args = product();
  args.m = y.rows;
  args.n = shape_.out;
  args.k = shape_.in;
  args.a = gemm_operand(x, true);
  args.b = gemm_operand(weight_.get(), true);
  args.c = y.data;
  args.c_format = y.format;
  args.c_stride = y.stride;
  args.bias = bias_ ? bias_->value : nullptr;
  args.packed_b = weight_.packed(true);
  pass.gemm(args);
}

void Linear::backward(Pass& pass, ConstMatrix dy, const float* amax_dy, const ScaledTensor& x, Matrix dx,
                      bool accumulate_dx) const {
  const WorkspaceScope scope(pass.workspace);
  const ScaledTensor codes = grad_codes(pass, dy, amax_dy);
  if (dx.data) input_grad(pass, codes, dx, accumulate_dx);
  weight_grad(pass, codes, x);
}

ScaledTensor Linear::grad_codes(Pass& pass, ConstMatrix dy, const float* amax_dy) const {
  ScaledTensor codes;
  if (grad_.direct(dy.format)) {
    codes.codes = {const_cast<void*>(dy.data), dy.format, dy.rows, dy.cols, dy.stride};
    if (bias_) pass.run(Part::quantize, [&](ThreadPool& pool) { column_sum(dy, bias_->grad, pool); });
  } else {
    codes.codes = pass.temporary(grad_.format(), dy.rows, dy.cols);
    codes.scales = pass.workspace.take<float>(static_cast<size_t>(grad_.scales(dy.rows, dy.cols)));
    grad_.quantize(pass, dy, amax_dy, codes, bias_ ? bias_->grad : nullptr);
  }
  return codes;
}

void Linear::input_grad(Pass& pass, const ScaledTensor& dy, Matrix dx, bool accumulate) const {
  GemmArgs args = product();
  args.m = dy.codes.rows;
  args.n = shape_.in;
  args.k = shape_.out;
  args.a = gemm_operand(dy, true);
  args.b = gemm_operand(weight_.get(), false);
  args.c = dx.data;
  args.c_format = dx.format;
  args.c_stride = dx.stride;
  args.accumulate = accumulate;
  args.packed_b = weight_.packed(false);
  pass.gemm(args);
}

void Linear::weight_grad(Pass& pass, const ScaledTensor& dy, const ScaledTensor& x) const {
  GemmArgs args = product();
  args.m = shape_.out;
  args.n = shape_.in;
  args.k = dy.codes.rows;
  args.a = gemm_operand(dy, false);
  args.b = gemm_operand(x, false);
  Parameter& weight = *weight_.parameter;
  args.c = weight.grad;
  args.c_stride = shape_.in;
  args.accumulate = !weight.grad_stale;
  pass.gemm(args);
  weight.grad_squares = -1;
  if (pass.planning()) return;
  weight.grad_stale = false;
  // While it is still in the cache.
  constexpr int64_t kCached = int64_t{8} << 20;
  if (pass.last_of_step && weight.size() <= kCached)
    pass.run(Part::optimizer,
             [&](ThreadPool& pool) { weight.grad_squares = sum_squares(weight.grad, weight.size(), pool); });
}

}  // namespace octavo
