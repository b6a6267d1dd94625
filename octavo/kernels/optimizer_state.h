// SPDX-License-Identifier: Apache-2.0
// What an optimizer step reads and writes when its tensors are kept in few bits (arXiv 2310.18313, section
// 2.2).
#pragma once
#include <cstdint>
#include <optional>

#include "octavo/kernels/stored.h"

namespace octavo {

/// One parameter tensor: read by the scales given here, written to the same memory by those of StepOutput.
/// The gradient is only read. moment2.data == nullptr for Lion.
struct OptimizerState {
  Stored weight{}, grad{}, moment1{}, moment2{};
};

/// The largest magnitudes of the values a step would store; NaN if there is one. Fresh scales are made from
/// them: a scale of E4M3 moments that is one step old would let them saturate.
struct StateAmax {
  float weight = 0, moment1 = 0, moment2 = 0;
};

/// How one result of a step is stored. fp32 and bf16 have no scale.
struct StoreAs {
  float scale = 1;
  CodeRule rule{};
  /// Set: the step finds the scale itself, so that no pass before it needs the amax. It is
  /// 2^-pow2_bias(amax of the new values, format, *fit_margin, kFloatBiasRange), exactly, or the old scale
  /// when that amax is not usable. `scale` is ignored; the old scale must be a power of two.
  ///
  /// Values are written by the old scale, in blocks that outgrow it by a larger one, and brought to the final
  /// scale at the end where it differs. Codes are those of a direct cast, except that a value below the
  /// smallest normal number of one of the scales it passed through was rounded there, too: in fp16 values of
  /// less than 2^-28 of the amax, in e4m3 less than 2^-13. Same bits for any team.
  std::optional<int> fit_margin{};
};

/// A copy of the new weights for GEMMs, made while they are at hand. Bit for bit it is what quantize() makes
/// of the weights as they are stored after the step, to nearest even, saturating, with the scale
/// 2^-pow2_bias(their amax, format, margin, kFloatBiasRange), or `scale` when that amax is not usable.
///
/// Codes are written by the last scale. Where the new one differs, or the scale of the weights changed, the
/// copy is made once more from the stored weights at the end, which costs as much as quantize().
struct CopyOut {
  void* codes = nullptr;         ///< [n]; none: no copy
  Format format = Format::e4m3;  ///< any with a sign; fp32 and bf16 have no scale
  float scale = 1;               ///< of the last copy
  int margin = 0;
};

struct StepOutput {
  StoreAs weight{}, moment1{}, moment2{};
  CopyOut copy{};
};

/// What a step saw and did.
struct StepSeen {
  Encoded weight{}, moment1{}, moment2{};
  float weight_scale = 1, moment1_scale = 1, moment2_scale = 1;  ///< by which they are stored now
  float copy_scale =
      1;  ///< of the copy, and the amax it is made from: of the weights as stored; if asked for
  float copy_amax = 0;
};

}  // namespace octavo
