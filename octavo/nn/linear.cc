// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/linear.h"

#include <fmt/format.h>

#include <utility>

#include "octavo/base/error.h"
#include "octavo/kernels/vector.h"
#include "octavo/nn/state_record.h"

namespace octavo {
namespace {

/// The state of a layer that computes in the recipe's formats is kept in them, too; of other layers, in FP32.
void store_by_recipe(Parameter& p, const Build& build) {
  if (build.purpose != Purpose::training) return;
  const auto by = [&](StateTensor& state, Role role) {
    state.spec = build.recipe.role(role);
    if (carries_scale(state.spec.format))
      state.slot = build.scaler.add(p.name + ":" + std::string(role_path(role)), state.spec);
  };
  by(p.master, Role::store_master);
  by(p.weight_grad, Role::store_weight_grad);
  by(p.moment1, Role::store_moment1);
  by(p.moment2, Role::store_moment2);
  p.wire = build.recipe.role(Role::comm_weight_grad);
  if (carries_scale(p.wire.format))
    p.wire_slot =
        p.wire == p.weight_grad.spec
            ? p.weight_grad.slot
            : build.scaler.add(p.name + ":" + std::string(role_path(Role::comm_weight_grad)), p.wire);
  p.casts_master = build.recipe.role(Role::store_weight) != build.recipe.role(Role::gemm_fprop_weight);
}

Parameter& add_matrix(const std::string& name, const Linear::Shape& shape, const Build& build) {
  Parameter p;
  p.name = name + ".weight";
  p.rows = shape.out;
  p.cols = shape.in;
  p.init = Init::normal;
  p.layer = shape.layer;
  p.init_std = layer_rule(build.config, shape.layer, shape.in).init_std;
  p.decay = true;
  p.transposed_on_disk = shape.transposed_on_disk;
  if (!build.recipe.keeps_high(name, build.block, build.blocks)) store_by_recipe(p, build);
  return build.parameters.add(p);
}

}  // namespace

Linear::Linear(const std::string& name, const Shape& shape, const Build& build, Parameter* tied)
    : name_(name),
      shape_(shape),
      multiplier_(
          static_cast<float>(layer_rule(build.config, shape.layer, shape.in).multiplier * shape.factor)),
      specs_(build.recipe.linear(name, build.block, build.blocks)),
      weight_(tied ? *tied : add_matrix(name, shape, build),
              OperandSlots(name, weight_uses(specs_), build.scaler, build.purpose)),
      grad_(name, grad_output_uses(specs_), build.scaler, build.purpose) {
  weight_.parameter->overwritten_first = true;
  if (!shape.bias) return;
  Parameter bias;
  bias.name = name + ".bias";
  bias.cols = shape.out;
  bias.computes_with_master = true;
  bias_ = &build.parameters.add(bias);
}

GemmArgs Linear::product() const {
  GemmArgs args;
  args.alpha = multiplier_;
  args.round_to_fp16 = specs_.output == Format::fp16;
  if (specs_.accumulate == Accumulate::fp16)
    args.fp16_sums = specs_.sums == SumsOf::codes ? Fp16Sums::codes : Fp16Sums::values;
  return args;
}

void Linear::forward(Pass& pass, const Operand& x, Matrix y) const {
  GemmArgs args = product();
  args.m = y.rows;
  args.n = shape_.out;
  args.k = shape_.in;
  args.a = gemm_operand(x.along, true);
  args.b = gemm_operand(weight_.get().along, true);
  args.c = y.data;
  args.c_format = y.format;
  args.c_stride = y.stride;
  args.bias = bias_ ? bias_->value : nullptr;
  args.packed_b = weight_.packed(true);
  pass.gemm(args);
}

void Linear::backward(Pass& pass, ConstMatrix dy, const float* amax_dy, const Operand& x, Matrix dx,
                      bool accumulate_dx) const {
  const WorkspaceScope scope(pass.workspace);
  const Operand codes = grad_codes(pass, dy, amax_dy);
  if (dx.data) input_grad(pass, codes, dx, accumulate_dx);
  weight_grad(pass, codes, x);
}

Operand Linear::grad_codes(Pass& pass, ConstMatrix dy, const float* amax_dy) const {
  float* bias_grad = bias_ ? bias_->grad : nullptr;  // taken along by the first quantization
  const auto payload = [&](const OperandSlot& slot) {
    ScaledTensor codes;
    if (slot.direct(dy.format)) {
      codes.codes = {const_cast<void*>(dy.data), dy.format, dy.rows, dy.cols, dy.stride};
      return codes;
    }
    codes.codes = pass.temporary(slot.format(), dy.rows, dy.cols);
    codes.scales = pass.workspace.take<float>(static_cast<size_t>(slot.scales(dy.rows, dy.cols)));
    slot.quantize(pass, dy, amax_dy, codes, std::exchange(bias_grad, nullptr));
    return codes;
  };
  Operand codes;
  codes.along = payload(grad_.along());
  codes.across = grad_.two() ? payload(grad_.across()) : codes.along;
  if (bias_grad) pass.run(Part::quantize, [&](ThreadPool& pool) { column_sum(dy, bias_grad, pool); });
  return codes;
}

void Linear::input_grad(Pass& pass, const Operand& dy, Matrix dx, bool accumulate) const {
  GemmArgs args = product();
  args.m = dy.along.codes.rows;
  args.n = shape_.in;
  args.k = shape_.out;
  args.a = gemm_operand(dy.along, true);
  args.b = gemm_operand(weight_.get().across, false);
  args.c = dx.data;
  args.c_format = dx.format;
  args.c_stride = dx.stride;
  args.accumulate = accumulate;
  args.packed_b = weight_.packed(false);
  pass.gemm(args);
}

void Linear::weight_grad(Pass& pass, const Operand& dy, const Operand& x) const {
  GemmArgs args = product();
  args.m = shape_.out;
  args.n = shape_.in;
  args.k = dy.across.codes.rows;
  args.a = gemm_operand(dy.across, false);
  args.b = gemm_operand(x.across, false);
  Parameter& weight = *weight_.parameter;
  args.c = weight.grad;
  args.c_stride = shape_.in;
  args.accumulate = !weight.grad_stale;
  if (!weight.weight_grad.is_fp32()) return store_weight_grad(pass, args);
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

void Linear::store_weight_grad(Pass& pass, GemmArgs args) const {
  Parameter& weight = *weight_.parameter;
  StateTensor& grad = weight.weight_grad;
  const WorkspaceScope scope(pass.workspace);
  float* const sums = pass.workspace.take<float>(static_cast<size_t>(weight.size()));
  float* const amax = pass.new_amax();
  args.c = sums;
  args.amax = amax;
  if (args.accumulate)
    pass.run(Part::quantize, [&](ThreadPool& pool) { decode(grad.at, weight.size(), sums, pool); });
  pass.gemm(args);
  weight.grad_squares = -1;
  pass.run(Part::quantize, [&](ThreadPool& pool) {
    weight.grad_saturated =
        store(grad, sums, *amax, pass.scaler, pass.rounding_seed(grad.slot), pool).saturated;
    // The scale of nothing but zeros shall not coarsen that of other ranks.
    if (*amax == 0 && carries_scale(grad.spec.format)) grad.at.scale = 0x1p-126f;
    weight.grad_stale = false;
    if (!pass.records || !carries_scale(grad.spec.format)) return;
    CastRecord cast(grad, Role::store_weight_grad, weight.name);
    cast.add(sums, weight.size(), pool);
    pass.records->push_back(cast.record());
    if (grad.spec.scaling.kind == ScalingKind::automatic)
      pass.records->back().mu = double{pass.scaler.mu(grad.slot)};
  });
}

}  // namespace octavo
