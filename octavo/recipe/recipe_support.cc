// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "octavo/recipe/recipe_file.h"
#include "octavo/recipe/words.h"

namespace octavo {
namespace {

using Reasons = std::vector<std::string>;

constexpr Role kOperands[] = {Role::gemm_fprop_input,       Role::gemm_fprop_weight,
                              Role::gemm_dgrad_grad_output, Role::gemm_dgrad_weight,
                              Role::gemm_wgrad_grad_output, Role::gemm_wgrad_input};

void check_operand(Role role, const RoleSpec& spec, Reasons& reasons) {
  const std::string_view path = role_path(role);
  if (spec.format == Format::fp16)
    reasons.push_back(fmt::format("{}: no GEMM reads fp16 operands yet", path));
  const Granularity grain = spec.granularity.kind;
  if (grain != Granularity::tensor && grain != Granularity::row)
    reasons.push_back(fmt::format("{}: scales per {} are not implemented yet, only per tensor or row", path,
                                  to_string(spec.granularity)));
  if (grain == Granularity::row && spec.scaling.kind != ScalingKind::current)
    reasons.push_back(fmt::format("{}: {} scaling per row is not implemented yet, only current", path,
                                  word(spec.scaling.kind)));
  switch (spec.scaling.kind) {
    case ScalingKind::none:
    case ScalingKind::constant:
    case ScalingKind::current:
    case ScalingKind::delayed:
    case ScalingKind::mse:
    case ScalingKind::static_:  // the model decides whether it fits
      break;
    case ScalingKind::automatic:
      reasons.push_back(fmt::format("{}: {} scaling is not implemented yet", path, word(spec.scaling.kind)));
      break;
  }
  if (spec.scaling.amax_group != AmaxGroup::rank)
    reasons.push_back(
        fmt::format("{}: an amax shared over {} needs several ranks, which are not implemented yet", path,
                    word(spec.scaling.amax_group)));
}

/// A role that has one format so far.
void expect(const Recipe& recipe, Role role, Format only, Reasons& reasons) {
  const RoleSpec& spec = recipe.role(role);
  if (spec.format == only) return;
  reasons.push_back(fmt::format("{}: {} is not implemented yet, only {}", role_path(role),
                                to_string(spec.format), to_string(only)));
}

}  // namespace

std::vector<std::string> unsupported(const Recipe& recipe) {
  Reasons reasons;
  for (const Role role : kOperands) check_operand(role, recipe.role(role), reasons);
  // The GEMM kernels multiply FP32 by FP32, or two operands of at most 16 bits.
  for (size_t i = 0; i < std::size(kOperands); i += 2) {
    const Format a = recipe.role(kOperands[i]).format, b = recipe.role(kOperands[i + 1]).format;
    if ((a == Format::fp32) != (b == Format::fp32))
      reasons.push_back(fmt::format("{} and {}: a GEMM multiplies fp32 with fp32 only, not {} with {}",
                                    role_path(kOperands[i]), role_path(kOperands[i + 1]), to_string(a),
                                    to_string(b)));
  }
  if (recipe.accumulate == Accumulate::hopper13)
    reasons.push_back(fmt::format("gemm.accumulate: {} is not implemented yet, only fp32 and fp16",
                                  word(recipe.accumulate)));
  for (const Role role : {Role::attention_q, Role::attention_k, Role::attention_v, Role::attention_p,
                          Role::store_kv_cache, Role::comm_activation, Role::comm_activation_grad})
    expect(recipe, role, recipe.wide(), reasons);
  for (const Role role : {Role::store_master, Role::store_weight, Role::store_moment1, Role::store_moment2,
                          Role::store_weight_grad, Role::comm_weight_grad, Role::comm_weight})
    expect(recipe, role, Format::fp32, reasons);
  if (recipe.role(Role::store_activation).format != recipe.role(Role::gemm_wgrad_input).format)
    reasons.push_back(
        "store.activation: what is kept for backward is what gemm.wgrad.input reads, no other format yet");
  int exponent = 0;
  if (recipe.loss.kind == LossScaling::static_ &&
      (std::frexp(recipe.loss.factor, &exponent) != 0.5 || exponent < -29 || exponent > 31))
    reasons.push_back(
        fmt::format("loss.scale: {} is no power of two from 2^-30 to 2^30, which gradients "
                    "can be divided by exactly",
                    loss_word(recipe.loss)));
  if (recipe.reduce.sum != ReduceSum::fp32)
    reasons.push_back(
        fmt::format("reduce.sum: {} is not implemented yet, only fp32", word(recipe.reduce.sum)));
  if (recipe.optimizer.stochastic_update)
    reasons.push_back("optimizer.stochastic_update: not implemented yet");
  return reasons;
}

}  // namespace octavo
