// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/words.h"

#include <fmt/format.h>

namespace octavo {
namespace {

constexpr Word<Format> kFormats[] = {{"e4m3", Format::e4m3},         {"e5m2", Format::e5m2},
                                     {"e4m3fnuz", Format::e4m3fnuz}, {"e5m2fnuz", Format::e5m2fnuz},
                                     {"bf16", Format::bf16},         {"fp16", Format::fp16},
                                     {"fp32", Format::fp32}};
constexpr Word<Rounding> kRoundings[] = {{"nearest", Rounding::nearest_even},
                                         {"stochastic", Rounding::stochastic},
                                         {"truncate", Rounding::truncate}};
constexpr Word<Overflow> kOverflows[] = {
    {"saturate", Overflow::saturate}, {"nan", Overflow::nan}, {"inf", Overflow::inf}};
constexpr Word<ScalingKind> kKinds[] = {
    {"none", ScalingKind::none},       {"static", ScalingKind::static_},  {"constant", ScalingKind::constant},
    {"current", ScalingKind::current}, {"delayed", ScalingKind::delayed}, {"auto", ScalingKind::automatic},
    {"mse", ScalingKind::mse}};
constexpr Word<Statistic> kStatistics[] = {{"max", Statistic::max}, {"latest", Statistic::latest}};
constexpr Word<Reading> kReadings[] = {{"factor", Reading::factor}, {"absolute", Reading::absolute}};
constexpr Word<Counting> kCountings[] = {{"local", Counting::local}, {"sum", Counting::sum}};
constexpr Word<AmaxGroup> kGroups[] = {
    {"rank", AmaxGroup::rank}, {"tp", AmaxGroup::tp}, {"dp", AmaxGroup::dp}};
constexpr Word<Accumulate> kAccumulates[] = {
    {"fp32", Accumulate::fp32}, {"fp16", Accumulate::fp16}, {"hopper13", Accumulate::hopper13}};
constexpr Word<SumsOf> kSumsOf[] = {{"values", SumsOf::values}, {"codes", SumsOf::codes}};
constexpr Word<ReduceSum> kSums[] = {
    {"fp32", ReduceSum::fp32}, {"fp8-chain", ReduceSum::fp8_chain}, {"fp8-tree", ReduceSum::fp8_tree}};
constexpr Word<GradientDivision> kDivisions[] = {
    {"pre", GradientDivision::pre}, {"post", GradientDivision::post}, {"rsqrt", GradientDivision::rsqrt}};

}  // namespace

template <>
std::span<const Word<Format>> words<Format>() {
  return kFormats;
}
template <>
std::span<const Word<Rounding>> words<Rounding>() {
  return kRoundings;
}
template <>
std::span<const Word<Overflow>> words<Overflow>() {
  return kOverflows;
}
template <>
std::span<const Word<ScalingKind>> words<ScalingKind>() {
  return kKinds;
}
template <>
std::span<const Word<Statistic>> words<Statistic>() {
  return kStatistics;
}
template <>
std::span<const Word<Reading>> words<Reading>() {
  return kReadings;
}
template <>
std::span<const Word<Counting>> words<Counting>() {
  return kCountings;
}
template <>
std::span<const Word<AmaxGroup>> words<AmaxGroup>() {
  return kGroups;
}
template <>
std::span<const Word<Accumulate>> words<Accumulate>() {
  return kAccumulates;
}
template <>
std::span<const Word<SumsOf>> words<SumsOf>() {
  return kSumsOf;
}
template <>
std::span<const Word<ReduceSum>> words<ReduceSum>() {
  return kSums;
}
template <>
std::span<const Word<GradientDivision>> words<GradientDivision>() {
  return kDivisions;
}

std::string to_string(const GranularitySpec& granularity) {
  switch (granularity.kind) {
    case Granularity::tensor:
      return "tensor";
    case Granularity::row:
      return "row";
    case Granularity::block:
      return fmt::format("block:{}x{}", granularity.block_rows, granularity.block_cols);
    case Granularity::mx:
      return "mx:32";
  }
  return "?";
}

std::string to_string(const ScalingSpec& scaling) {
  std::string text(word(scaling.kind));
  const bool from_amax = scaling.kind == ScalingKind::current || scaling.kind == ScalingKind::delayed ||
                         scaling.kind == ScalingKind::automatic;
  if (scaling.kind == ScalingKind::constant) text += fmt::format(", 2^{}", -scaling.exponent);
  if (scaling.kind == ScalingKind::delayed) {
    text += scaling.statistic == Statistic::max ? fmt::format(", max of {}", scaling.window)
                                                : fmt::format(", latest of {}", scaling.window);
  }
  if (scaling.kind == ScalingKind::automatic) {
    text += fmt::format(", over {} saturated, doubling in {} steps, as {}, counted {}", scaling.threshold,
                        scaling.growth_steps, word(scaling.reading), word(scaling.count));
  }
  if (from_amax) text += scaling.pow2 ? ", power of two" : ", fp32";
  if (from_amax && scaling.margin != 0) text += fmt::format(", margin {}", scaling.margin);
  if (scaling.amax_group != AmaxGroup::rank) text += fmt::format(", amax over {}", word(scaling.amax_group));
  return text;
}

std::string loss_word(const LossSpec& loss) {
  switch (loss.kind) {
    case LossScaling::none:
      return "none";
    case LossScaling::static_:
      return fmt::format("static:{}", loss.factor);
    case LossScaling::dynamic:
      return "dynamic";
    case LossScaling::unit:
      return "unit";
    case LossScaling::jump:
      return fmt::format("jump:{}@{}", loss.factor, loss.step);
  }
  return "?";
}

}  // namespace octavo
