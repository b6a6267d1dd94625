// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "octavo/recipe/recipe_file.h"
#include "octavo/recipe/words.h"

namespace octavo {
namespace {

constexpr int kLargestWindow = 65536;  ///< a history is kept for every tensor
constexpr int kLargestExponent = 126;  ///< 2^e and 2^-e are both normal FP32 numbers

class Checker {
 public:
  explicit Checker(const Recipe& recipe) : recipe_(recipe) {}

  std::vector<RecipeProblem> run() {
    for (int i = 0; i < kRoleCount; ++i) check_written(static_cast<Role>(i));
    for (int i = 0; i < kRoleCount; ++i)
      if (!is_group(static_cast<Role>(i))) check_resolved(static_cast<Role>(i));
    check_reduce();
    return std::move(problems_);
  }

 private:
  void add(Role role, std::string message) { problems_.push_back({role, std::move(message)}); }

  /// True when `holds` for a member that is resolved from `role` (for a member itself: from itself).
  template <class Holds>
  bool reaches(Role role, Holds holds) const {
    for (int i = 0; i < kRoleCount; ++i) {
      const Role member = static_cast<Role>(i);
      if (is_group(member)) continue;
      for (const Role from : role_chain(member))
        if (from == role && holds(recipe_.role(member))) return true;
    }
    return false;
  }

  void check_written(Role role) {
    const RoleOverride& keys = recipe_.written(role);
    const std::string path(role_path(role));
    if (keys.kind == ScalingKind::constant && !keys.exponent) {
      bool inherited = false;
      for (const Role from : role_chain(role)) inherited |= recipe_.written(from).exponent.has_value();
      if (!inherited) add(role, fmt::format("'{}.scaling' is constant and needs an 'exponent'", path));
    }
    const bool scaling = keys.kind && *keys.kind != ScalingKind::none;
    const bool finer = keys.granularity && keys.granularity->kind != Granularity::tensor;
    if ((scaling || finer) && !reaches(role, [](const RoleSpec& s) { return carries_scale(s.format); }))
      add(role, fmt::format("'{}.{}' has no effect: {} carries no scale", path,
                            scaling ? "scaling" : "granularity", to_string(recipe_.role(role).format)));

    const auto only_for = [&](bool written, std::string_view key, std::string_view kinds, auto holds) {
      if (!written || reaches(role, [&](const RoleSpec& s) { return holds(s.scaling.kind); })) return;
      add(role, fmt::format("'{}.scaling.{}' is for {} scaling, but the scaling here is {}", path, key, kinds,
                            word(keys.kind.value_or(recipe_.role(role).scaling.kind))));
    };
    using K = ScalingKind;
    const auto is = [](K wanted) { return [wanted](K kind) { return kind == wanted; }; };
    const auto from_amax = [](K kind) {
      return kind == K::current || kind == K::delayed || kind == K::automatic;
    };
    only_for(keys.exponent.has_value(), "exponent", "constant", is(K::constant));
    only_for(keys.window.has_value(), "window", "delayed", is(K::delayed));
    only_for(keys.statistic.has_value(), "statistic", "delayed", is(K::delayed));
    only_for(keys.threshold.has_value(), "threshold", "auto", is(K::automatic));
    only_for(keys.growth_steps.has_value(), "growth_steps", "auto", is(K::automatic));
    only_for(keys.reading.has_value(), "reading", "auto", is(K::automatic));
    only_for(keys.count.has_value(), "count", "auto", is(K::automatic));
    only_for(keys.pow2.has_value(), "pow2", "current, delayed or auto", from_amax);
    only_for(keys.margin.has_value(), "margin", "current, delayed or auto", from_amax);
    only_for(keys.amax_group.has_value(), "amax_group", "current, delayed or auto", from_amax);
  }

  void check_resolved(Role role) {
    const RoleSpec& spec = recipe_.role(role);
    const ScalingSpec& scaling = spec.scaling;
    const std::string path(role_path(role));
    const auto out_of_range = [&](std::string_view key, int value, int low, int high) {
      if (value < low || value > high)
        add(role,
            fmt::format("'{}.scaling.{}' must be from {} to {}, but is {}", path, key, low, high, value));
    };
    if (spec.overflow == Overflow::inf && !has_inf(spec.format))
      add(role,
          fmt::format("'{}.overflow' cannot be 'inf': {} has no infinity", path, to_string(spec.format)));

    out_of_range("margin", scaling.margin, -64, 64);
    if (scaling.kind == ScalingKind::constant)
      out_of_range("exponent", scaling.exponent, -kLargestExponent, kLargestExponent);
    if (scaling.kind == ScalingKind::delayed) out_of_range("window", scaling.window, 1, kLargestWindow);
    if (scaling.kind == ScalingKind::automatic) {
      out_of_range("growth_steps", scaling.growth_steps, 1, 1000000000);
      if (!(scaling.threshold > 0 && scaling.threshold < 1))
        add(role, fmt::format("'{}.scaling.threshold' is a share between 0 and 1, but is {}", path,
                              scaling.threshold));
      if (role != Role::store_weight_grad && role != Role::comm_weight_grad)
        add(role,
            fmt::format("'{}.scaling' cannot be auto: it is a rule for gradients that are summed over ranks "
                        "(store.weight_grad, comm.weight_grad)",
                        path));
    }

    const Granularity grain = spec.granularity.kind;
    if (grain != Granularity::tensor && scaling.kind != ScalingKind::current &&
        scaling.kind != ScalingKind::mse)
      add(role,
          fmt::format("'{}.granularity' is {}, which needs scaling current or mse: {} has one scale for the "
                      "whole tensor",
                      path, to_string(spec.granularity), word(scaling.kind)));
    if (grain == Granularity::mx && bytes(spec.format) != 1)
      add(role, fmt::format("'{}.granularity' is mx:32, which needs an 8-bit format, not {}", path,
                            to_string(spec.format)));
    if (grain == Granularity::mx && !scaling.pow2)
      add(role,
          fmt::format("'{}.scaling.pow2' must be true with mx:32: its scales are E8M0, powers of two", path));
    if (scaling.kind == ScalingKind::static_ && spec.overflow != Overflow::saturate)
      add(role, fmt::format(
                    "'{}.overflow' must be saturate with static scaling: without an amax, a value beyond the "
                    "format is expected now and then",
                    path));
    if (scaling.kind == ScalingKind::mse && spec.overflow != Overflow::saturate)
      add(role, fmt::format("'{}.overflow' must be saturate with mse scaling, which cuts the largest values "
                            "where that pays",
                            path));
  }

  void check_reduce() {
    const RoleSpec& wire = recipe_.role(Role::comm_weight_grad);
    if (recipe_.reduce.gradient != GradientDivision::post && wire.scaling.kind == ScalingKind::automatic)
      problems_.push_back(
          {std::nullopt, fmt::format("'reduce.gradient' is {}, but the scaling of comm.weight_grad is auto, "
                                     "whose factor takes its place",
                                     word(recipe_.reduce.gradient))});
    if (recipe_.reduce.sum != ReduceSum::fp32 && bytes(wire.format) != 1)
      problems_.push_back({std::nullopt, fmt::format("'reduce.sum' is {}, but comm.weight_grad is {}, not an "
                                                     "8-bit format",
                                                     word(recipe_.reduce.sum), to_string(wire.format))});
  }

  const Recipe& recipe_;
  std::vector<RecipeProblem> problems_;
};

}  // namespace

std::vector<RecipeProblem> check_recipe(const Recipe& recipe) { return Checker(recipe).run(); }

}  // namespace octavo
