// SPDX-License-Identifier: Apache-2.0
// What a recipe says about one tensor: its numbers, over what a scale is shared, and how the scale is chosen.
#pragma once
#include <string>

#include "octavo/numerics/format.h"
#include "octavo/numerics/rounding.h"
#include "octavo/tensor/scaled_tensor.h"

namespace octavo {

/// How a scale is chosen (value = code * scale).
enum class ScalingKind {
  none,       ///< scale 1: a plain cast
  static_,    ///< scale 1, and the model promises unit scale (arXiv:2502.05967); any other model is refused
  constant,   ///< scale 2^-exponent (FP8-CSCALE, arXiv:2309.17224)
  current,    ///< from the amax of this very data (FP8-AMAX, just-in-time scaling)
  delayed,    ///< from the amax history of earlier steps (Transformer Engine, FP8-LM activations)
  automatic,  ///< current, times a factor driven by the saturation count (FP8-LM section 2.1, gradients);
              ///< "auto"
  mse         ///< the power of two with the least squared error
};
enum class Statistic { max, latest };     ///< delayed: which entry of the history
enum class Reading { factor, absolute };  ///< auto: "1/2" and "2" as factors of mu, or as its values
enum class Counting { local, sum };       ///< auto: saturation counted on this rank's codes, or after the sum
enum class AmaxGroup { rank, tp, dp };    ///< the ranks that share one amax

struct ScalingSpec {
  ScalingKind kind = ScalingKind::none;
  bool pow2 =
      true;        ///< scale = 2^-(floor(log2(Fmax / amax)) - margin); false: amax / Fmax * 2^margin in FP32
  int margin = 0;  ///< powers of two of headroom
  int exponent = 0;  ///< constant: the scaling bias c; codes are the cast of x * 2^c
  int window = 16;   ///< delayed: length of the history
  Statistic statistic = Statistic::max;
  double threshold = 1e-5;  ///< auto: share of saturated codes above which mu drops
  int growth_steps = 1000;  ///< auto: steps over which mu doubles
  Reading reading = Reading::factor;
  Counting count = Counting::local;
  AmaxGroup amax_group = AmaxGroup::rank;
  friend bool operator==(const ScalingSpec&, const ScalingSpec&) = default;
};

struct RoleSpec {
  Format format = Format::fp32;
  GranularitySpec granularity;
  Rounding rounding = Rounding::nearest_even;
  Overflow overflow = Overflow::saturate;
  ScalingSpec scaling;
  friend bool operator==(const RoleSpec&, const RoleSpec&) = default;
};

/// fp32 and bf16 have the range of FP32 and never carry a scale.
inline bool carries_scale(Format format) { return format != Format::fp32 && format != Format::bf16; }

/// "tensor", "row", "block:1x128", "mx:32".
std::string to_string(const GranularitySpec& granularity);
/// One phrase for people: "current, power of two", "delayed, max of 16, amax over tp".
std::string to_string(const ScalingSpec& scaling);

}  // namespace octavo
