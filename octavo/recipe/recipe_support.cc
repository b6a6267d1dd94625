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
    case ScalingKind::automatic:  // refused where recipes are read: gradients only
      break;
  }
  if (spec.scaling.amax_group != AmaxGroup::rank)
    reasons.push_back(fmt::format("{}: an amax shared over {} is not implemented yet", path,
                                  word(spec.scaling.amax_group)));
}

/// A role that has one format so far.
void expect(const Recipe& recipe, Role role, Format only, Reasons& reasons) {
  const RoleSpec& spec = recipe.role(role);
  if (spec.format == only) return;
  reasons.push_back(fmt::format("{}: {} is not implemented yet, only {}", role_path(role),
                                to_string(spec.format), to_string(only)));
}

/// State that is kept, or gradients that travel: any format, one scale a tensor.
void check_state(Role role, const RoleSpec& spec, Reasons& reasons) {
  const std::string_view path = role_path(role);
  if (spec.granularity.kind != Granularity::tensor)
    reasons.push_back(fmt::format("{}: scales per {} are not implemented yet, only per tensor", path,
                                  to_string(spec.granularity)));
  switch (spec.scaling.kind) {
    case ScalingKind::none:
    case ScalingKind::constant:
    case ScalingKind::current:
    case ScalingKind::automatic:
      break;
    case ScalingKind::static_:
    case ScalingKind::delayed:
    case ScalingKind::mse:
      reasons.push_back(fmt::format("{}: {} scaling of state is not implemented, only none, constant, {}",
                                    path, word(spec.scaling.kind),
                                    role == Role::store_weight_grad || role == Role::comm_weight_grad
                                        ? "current and auto"
                                        : "and current"));
      break;
  }
}

/// Weights lie on every rank as they are computed with, beside masters on one of them, or as masters.
void check_weights(const Recipe& recipe, Reasons& reasons) {
  const RoleSpec &weight = recipe.role(Role::store_weight), &master = recipe.role(Role::store_master);
  if (weight != recipe.role(Role::gemm_fprop_weight) && weight != master)
    reasons.push_back(
        "store.weight: what every rank keeps is either what gemm.fprop.weight reads or store.master itself");
  if (recipe.role(Role::comm_weight) != weight)
    reasons.push_back("comm.weight: weights travel as store.weight keeps them");
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
  for (const Role role : {Role::store_master, Role::store_moment1, Role::store_moment2,
                          Role::store_weight_grad, Role::comm_weight_grad})
    check_state(role, recipe.role(role), reasons);
  check_weights(recipe, reasons);
  if (recipe.role(Role::store_activation).format != recipe.role(Role::gemm_wgrad_input).format)
    reasons.push_back(
        "store.activation: what is kept for backward is what gemm.wgrad.input reads, no other format yet");
  int exponent = 0;
  if ((recipe.loss.kind == LossScaling::static_ || recipe.loss.kind == LossScaling::jump) &&
      (std::frexp(recipe.loss.factor, &exponent) != 0.5 || exponent < -29 || exponent > 31))
    reasons.push_back(
        fmt::format("loss.scale: {} is no power of two from 2^-30 to 2^30, which gradients "
                    "can be divided by exactly",
                    loss_word(recipe.loss)));
  return reasons;
}

}  // namespace octavo
