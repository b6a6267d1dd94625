// SPDX-License-Identifier: Apache-2.0
// A recipe: in which numbers a model is trained. Data, read from TOML; docs/recipes.md is the user's page.
#pragma once
#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "octavo/recipe/spec.h"

namespace octavo {

/// Every path a recipe can say something about. Group paths (gemm, gemm.input, gemm.wgrad, store, ...) are
/// roles as well: they resolve to what their members inherit.
enum class Role {
  gemm,
  gemm_weight,
  gemm_input,
  gemm_grad_output,
  gemm_fprop,
  gemm_dgrad,
  gemm_wgrad,
  gemm_fprop_input,
  gemm_fprop_weight,
  gemm_dgrad_grad_output,
  gemm_dgrad_weight,
  gemm_wgrad_grad_output,
  gemm_wgrad_input,
  gemm_output,  ///< decides the recipe's wide format, see Recipe::wide()
  attention,
  attention_q,
  attention_k,
  attention_v,
  attention_p,
  store,
  store_master,
  store_weight,
  store_moment1,
  store_moment2,
  store_weight_grad,
  store_activation,
  store_kv_cache,
  comm,
  comm_weight_grad,
  comm_weight,
  comm_activation,
  comm_activation_grad,
};
inline constexpr int kRoleCount = static_cast<int>(Role::comm_activation_grad) + 1;

/// "gemm.fprop.input" for Role::gemm_fprop_input.
std::string_view role_path(Role role);
/// The role of a path, or nothing.
std::optional<Role> find_role(std::string_view path);
/// The paths a role is resolved from, weakest first, itself last:
///   gemm.fprop.input   gemm, gemm.input, gemm.fprop, gemm.fprop.input     (the pass wins over the tensor)
///   attention.q        gemm.output, attention, attention.q
///   store.weight       gemm, gemm.weight, gemm.fprop, gemm.fprop.weight, store, store.weight
///   store.activation   gemm, gemm.input, gemm.wgrad, gemm.wgrad.input, store, store.activation
///   comm.weight_grad   store, store.weight_grad, comm, comm.weight_grad   (comm.* default to what is stored)
///   comm.weight        those of store.weight, comm, comm.weight
std::span<const Role> role_chain(Role role);
/// True for paths that only pass defaults on: gemm, its tensors and passes, attention, store, comm.
bool is_group(Role role);

/// The keys one table of a recipe file sets.
struct RoleOverride {
  std::optional<Format> format;
  std::optional<GranularitySpec> granularity;
  std::optional<Rounding> rounding;
  std::optional<Overflow> overflow;
  std::optional<ScalingKind> kind;
  std::optional<bool> pow2;
  std::optional<int> margin, exponent, window;
  std::optional<Statistic> statistic;
  std::optional<double> threshold;
  std::optional<int> growth_steps;
  std::optional<Reading> reading;
  std::optional<Counting> count;
  std::optional<AmaxGroup> amax_group;
  friend bool operator==(const RoleOverride&, const RoleOverride&) = default;
};

/// What a GEMM sums in.
enum class Accumulate { fp32, fp16, hopper13 };
/// Whether products are scaled before they are summed, or the sum of the products of codes is.
enum class SumsOf { values, codes };

struct LayerRules {
  std::vector<std::string> keep_high = {"lm_head", "embed", "norm"};  ///< globs, see matches_tensor()
  int first_blocks_high = 0, last_blocks_high = 0;
  friend bool operator==(const LayerRules&, const LayerRules&) = default;
};

/// unit: the power of two nearest to tokens a step x width, which gives the gradient of the last stream unit
/// variance in a model whose LM head has the multiplier 1/width (arXiv:2502.05967).
/// jump: 1, and `factor` after `step` steps, which shows how fast scales follow gradients that change.
enum class LossScaling { none, static_, dynamic, unit, jump };
struct LossSpec {
  LossScaling kind = LossScaling::none;
  double factor = 1;  ///< static and jump
  int64_t step = 0;   ///< jump
  friend bool operator==(const LossSpec&, const LossSpec&) = default;
};

/// Where partial sums of gradients are rounded: nowhere, or to the format that travels after each rank
/// (chain) or pair of ranks (tree).
enum class ReduceSum { fp32, fp8_chain, fp8_tree };
/// When the 1/N of the mean over N ranks is applied: before the gradients become codes, to their sum, or half
/// of it (as a factor) at each end.
enum class GradientDivision { pre, post, rsqrt };
struct ReduceSpec {
  ReduceSum sum = ReduceSum::fp32;
  GradientDivision gradient = GradientDivision::post;
  friend bool operator==(const ReduceSpec&, const ReduceSpec&) = default;
};

/// What one linear layer needs to know, asked for once at construction.
struct LinearSpecs {
  RoleSpec fprop_input, fprop_weight;
  RoleSpec dgrad_grad_output, dgrad_weight;
  RoleSpec wgrad_grad_output, wgrad_input;
  Format output = Format::bf16;
  Accumulate accumulate = Accumulate::fp32;
  SumsOf sums = SumsOf::values;
  bool kept_high = false;  ///< by [layers]: all six operands are in the wide format
};

class Recipe {
 public:
  std::string name, paper, description;
  std::vector<std::string> deviations;  ///< from the paper, one sentence each
  std::string parameter;                ///< the integer key that NAME:VALUE sets, as "gemm.scaling.exponent"
  LayerRules layers;
  LossSpec loss;
  ReduceSpec reduce;
  Accumulate accumulate = Accumulate::fp32;  ///< gemm.accumulate
  SumsOf sums = SumsOf::values;              ///< gemm.accumulate.sums: fp16 only

  /// The defaults: BF16 mixed precision with FP32 state.
  Recipe();

  const RoleSpec& role(Role r) const { return resolved_[static_cast<size_t>(r)]; }
  /// By path; an unknown path is a usage error that names the nearest one.
  const RoleSpec& role(std::string_view path) const;
  const RoleOverride& written(Role r) const { return written_[static_cast<size_t>(r)]; }
  /// Replaces what is written for a path and resolves all roles again.
  void write(Role r, const RoleOverride& keys);

  /// What activations lie in memory as and layers kept out of 8 bits compute in: gemm.output's format, but
  /// FP32 for FP16, which is emulated: the results of GEMMs are rounded to its numbers.
  Format wide() const {
    const Format output = role(Role::gemm_output).format;
    return output == Format::fp16 ? Format::fp32 : output;
  }
  /// Whether [layers] keeps a tensor in the wide format. `block` is -1 outside the blocks.
  bool keeps_high(std::string_view tensor_name, int block, int n_blocks) const;
  LinearSpecs linear(std::string_view tensor_name, int block, int n_blocks) const;
  /// True when a role has `static` scaling: the model must keep its tensors at unit scale.
  bool needs_unit_scaled_model() const;

  friend bool operator==(const Recipe&, const Recipe&) = default;

 private:
  void resolve();
  std::array<RoleOverride, kRoleCount> written_{};
  std::array<RoleSpec, kRoleCount> resolved_{};
};

/// True when `glob` (`*` any run of characters, `?` one) matches the whole name or a run of whole
/// dot-separated parts of it: "lm_head" matches "lm_head.weight", "blocks.0" and "*.qkv" match
/// "blocks.0.attn.qkv", "norm" not "norm1".
bool matches_tensor(std::string_view glob, std::string_view name);

}  // namespace octavo
