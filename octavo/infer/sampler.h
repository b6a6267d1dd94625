// SPDX-License-Identifier: Apache-2.0
// From logits to the next token.
#pragma once
#include <cstdint>
#include <span>

namespace octavo {

struct SamplerParams {
  double temperature = 0.8;  ///< 0: always the most likely token
  int64_t top_k = 0;         ///< keep the k most likely; 0: all
  double top_p = 1.0;        ///< keep the smallest set whose probability reaches p
  double min_p = 0.0;        ///< keep tokens at least min_p times as likely as the most likely one
  uint64_t seed = 0;
};

/// Throws usage, naming the flag, when a parameter is out of range.
void validate(const SamplerParams& params);

/// The token drawn for `position` in stream `sequence`: a pure function of its arguments. The filters apply
/// in the order temperature, top-k, top-p, min-p, each on what the one before left; ties go to the smaller
/// id. Throws bad_data when a logit is NaN or the largest infinite.
int32_t sample(std::span<const float> logits, const SamplerParams& params, uint64_t position,
               uint64_t sequence = 0);

}  // namespace octavo
