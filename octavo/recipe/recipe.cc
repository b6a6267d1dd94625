// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/recipe.h"

#include <algorithm>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"

namespace octavo {
namespace {

constexpr int kLongestChain = 8;
struct RoleRow {
  std::string_view path;
  bool group;
  int length;
  Role chain[kLongestChain];
};

// One row for each Role, in its order. A pass is stronger than a tensor, so that `[gemm.wgrad] format =
// "bf16"` means what it says whatever gemm.input and gemm.grad_output are.
constexpr RoleRow kRoles[kRoleCount] = {
    {"gemm", true, 1, {Role::gemm}},
    {"gemm.weight", true, 2, {Role::gemm, Role::gemm_weight}},
    {"gemm.input", true, 2, {Role::gemm, Role::gemm_input}},
    {"gemm.grad_output", true, 2, {Role::gemm, Role::gemm_grad_output}},
    {"gemm.fprop", true, 2, {Role::gemm, Role::gemm_fprop}},
    {"gemm.dgrad", true, 2, {Role::gemm, Role::gemm_dgrad}},
    {"gemm.wgrad", true, 2, {Role::gemm, Role::gemm_wgrad}},
    {"gemm.fprop.input", false, 4, {Role::gemm, Role::gemm_input, Role::gemm_fprop, Role::gemm_fprop_input}},
    {"gemm.fprop.weight",
     false,
     4,
     {Role::gemm, Role::gemm_weight, Role::gemm_fprop, Role::gemm_fprop_weight}},
    {"gemm.dgrad.grad_output",
     false,
     4,
     {Role::gemm, Role::gemm_grad_output, Role::gemm_dgrad, Role::gemm_dgrad_grad_output}},
    {"gemm.dgrad.weight",
     false,
     4,
     {Role::gemm, Role::gemm_weight, Role::gemm_dgrad, Role::gemm_dgrad_weight}},
    {"gemm.wgrad.grad_output",
     false,
     4,
     {Role::gemm, Role::gemm_grad_output, Role::gemm_wgrad, Role::gemm_wgrad_grad_output}},
    {"gemm.wgrad.input", false, 4, {Role::gemm, Role::gemm_input, Role::gemm_wgrad, Role::gemm_wgrad_input}},
    {"gemm.output", false, 1, {Role::gemm_output}},
    {"attention", true, 2, {Role::gemm_output, Role::attention}},
    {"attention.q", false, 3, {Role::gemm_output, Role::attention, Role::attention_q}},
    {"attention.k", false, 3, {Role::gemm_output, Role::attention, Role::attention_k}},
    {"attention.v", false, 3, {Role::gemm_output, Role::attention, Role::attention_v}},
    {"attention.p", false, 3, {Role::gemm_output, Role::attention, Role::attention_p}},
    {"store", true, 1, {Role::store}},
    {"store.master", false, 2, {Role::store, Role::store_master}},
    {"store.weight",
     false,
     6,
     {Role::gemm, Role::gemm_weight, Role::gemm_fprop, Role::gemm_fprop_weight, Role::store,
      Role::store_weight}},
    {"store.moment1", false, 2, {Role::store, Role::store_moment1}},
    {"store.moment2", false, 2, {Role::store, Role::store_moment2}},
    {"store.weight_grad", false, 2, {Role::store, Role::store_weight_grad}},
    {"store.activation",
     false,
     6,
     {Role::gemm, Role::gemm_input, Role::gemm_wgrad, Role::gemm_wgrad_input, Role::store,
      Role::store_activation}},
    {"store.kv_cache", false, 3, {Role::gemm_output, Role::store, Role::store_kv_cache}},
    {"comm", true, 1, {Role::comm}},
    {"comm.weight_grad",
     false,
     4,
     {Role::store, Role::store_weight_grad, Role::comm, Role::comm_weight_grad}},
    {"comm.weight",
     false,
     8,
     {Role::gemm, Role::gemm_weight, Role::gemm_fprop, Role::gemm_fprop_weight, Role::store,
      Role::store_weight, Role::comm, Role::comm_weight}},
    {"comm.activation", false, 3, {Role::gemm_output, Role::comm, Role::comm_activation}},
    {"comm.activation_grad", false, 3, {Role::gemm_output, Role::comm, Role::comm_activation_grad}},
};

const RoleRow& row(Role role) { return kRoles[static_cast<size_t>(role)]; }

void apply(RoleSpec& spec, const RoleOverride& keys) {
  if (keys.format) {
    spec.format = *keys.format;
    // Without this, `[gemm.wgrad] format = "bf16"` under a scaled gemm would have to undo the scaling by
    // hand.
    if (!carries_scale(spec.format)) spec.scaling = {}, spec.granularity = {};
  }
  const auto set = [](auto& target, const auto& key) {
    if (key) target = *key;
  };
  set(spec.granularity, keys.granularity);
  set(spec.rounding, keys.rounding);
  set(spec.overflow, keys.overflow);
  set(spec.scaling.kind, keys.kind);
  set(spec.scaling.pow2, keys.pow2);
  set(spec.scaling.margin, keys.margin);
  set(spec.scaling.exponent, keys.exponent);
  set(spec.scaling.window, keys.window);
  set(spec.scaling.statistic, keys.statistic);
  set(spec.scaling.threshold, keys.threshold);
  set(spec.scaling.growth_steps, keys.growth_steps);
  set(spec.scaling.reading, keys.reading);
  set(spec.scaling.count, keys.count);
  set(spec.scaling.amax_group, keys.amax_group);
}

bool glob_match(std::string_view glob, std::string_view text) {
  size_t g = 0, t = 0, star = std::string_view::npos, resume = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      resume = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g, ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++resume;
    } else {
      return false;
    }
  }
  while (g < glob.size() && glob[g] == '*') ++g;
  return g == glob.size();
}

}  // namespace

std::string_view role_path(Role role) { return row(role).path; }

std::optional<Role> find_role(std::string_view path) {
  for (int i = 0; i < kRoleCount; ++i)
    if (kRoles[i].path == path) return static_cast<Role>(i);
  return std::nullopt;
}

std::span<const Role> role_chain(Role role) {
  return {row(role).chain, static_cast<size_t>(row(role).length)};
}

bool is_group(Role role) { return row(role).group; }

Recipe::Recipe() { resolve(); }

const RoleSpec& Recipe::role(std::string_view path) const {
  if (const auto found = find_role(path)) return role(*found);
  std::vector<std::string> known;
  for (const RoleRow& r : kRoles) known.emplace_back(r.path);
  fail_usage("unknown role '" + std::string(path) + "'" + did_you_mean(path, known));
}

void Recipe::write(Role r, const RoleOverride& keys) {
  written_[static_cast<size_t>(r)] = keys;
  resolve();
}

void Recipe::resolve() {
  for (int i = 0; i < kRoleCount; ++i) {
    const auto chain = role_chain(static_cast<Role>(i));
    RoleSpec spec;
    const bool state = chain.front() == Role::store || chain.front() == Role::comm;
    spec.format = state ? Format::fp32 : Format::bf16;
    for (const Role from : chain) apply(spec, written(from));
    // A scaling meant for members with 8-bit formats stays without effect on one that cannot carry it.
    if (!carries_scale(spec.format)) spec.scaling = {}, spec.granularity = {};
    resolved_[static_cast<size_t>(i)] = spec;
  }
}

bool Recipe::keeps_high(std::string_view tensor_name, int block, int n_blocks) const {
  if (block >= 0 && (block < layers.first_blocks_high || block >= n_blocks - layers.last_blocks_high))
    return true;
  return std::any_of(layers.keep_high.begin(), layers.keep_high.end(),
                     [&](const std::string& glob) { return matches_tensor(glob, tensor_name); });
}

LinearSpecs Recipe::linear(std::string_view tensor_name, int block, int n_blocks) const {
  LinearSpecs specs;
  specs.output = role(Role::gemm_output).format;
  specs.accumulate = accumulate;
  specs.sums = sums;
  specs.kept_high = keeps_high(tensor_name, block, n_blocks);
  RoleSpec high;
  high.format = wide();
  const auto spec = [&](Role r) { return specs.kept_high ? high : role(r); };
  specs.fprop_input = spec(Role::gemm_fprop_input);
  specs.fprop_weight = spec(Role::gemm_fprop_weight);
  specs.dgrad_grad_output = spec(Role::gemm_dgrad_grad_output);
  specs.dgrad_weight = spec(Role::gemm_dgrad_weight);
  specs.wgrad_grad_output = spec(Role::gemm_wgrad_grad_output);
  specs.wgrad_input = spec(Role::gemm_wgrad_input);
  return specs;
}

bool Recipe::needs_unit_scaled_model() const {
  return std::any_of(resolved_.begin(), resolved_.end(),
                     [](const RoleSpec& spec) { return spec.scaling.kind == ScalingKind::static_; });
}

bool matches_tensor(std::string_view glob, std::string_view name) {
  for (size_t begin = 0; begin <= name.size();) {
    for (size_t end = begin;; ++end) {
      if (end == name.size() || name[end] == '.') {
        if (glob_match(glob, name.substr(begin, end - begin))) return true;
        if (end == name.size()) break;
      }
    }
    const size_t dot = name.find('.', begin);
    if (dot == std::string_view::npos) break;
    begin = dot + 1;
  }
  return false;
}

}  // namespace octavo
