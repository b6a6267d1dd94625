// SPDX-License-Identifier: Apache-2.0
// What a quantization lost, in the figures people read, and as lines of tensors.jsonl.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "octavo/kernels/quantize.h"

namespace octavo {

/// Share of the non-zero elements that became zero, 0..1 (arXiv:2502.05967 A.7); 0 when all were zero.
double underflow_share(const QuantizeStats& stats);
/// Share of all elements beyond the largest finite number, 0..1; 0 for an empty tensor.
double saturation_share(const QuantizeStats& stats);
/// 10 log10(signal / noise) in dB; +inf without noise, NaN without signal.
double snr_db(const QuantizeStats& stats);

/// Where the magnitudes lie, as exponents e of 2^e <= |x| < 2^(e+1). Zeros and FP32 subnormals, infinities
/// and NaNs are left out; `count` is what remains. All exponents are 0 when it is 0.
struct ExponentSummary {
  int64_t count = 0;
  int lowest = 0, p01 = 0, median = 0, p99 = 0, highest = 0;
};
ExponentSummary exponent_summary(const QuantizeStats& stats);

/// One line of tensors.jsonl.
struct TensorRecord {
  int64_t step = 0;
  std::string tensor;  ///< "blocks.3.attn.qkv"
  std::string role;    ///< "gemm.fprop.input"
  std::string format;  ///< "e4m3"
  double amax = 0;
  /// log2(scale), an integer for power-of-two scales; of many scales the largest, which belongs to the amax.
  double scale_exponent = 0;
  int64_t scales = 1;                ///< how many the tensor has
  double median_scale_exponent = 0;  ///< of many: the middle one, of an even number the lower
  double underflow = 0, saturation = 0, snr_db = 0;
  /// Magnitudes before scaling: exponent_counts[i] elements with 2^e <= |x| < 2^(e+1), e = exponent_first +
  /// i. Begins and ends with a count that is not 0; empty when all elements are zeros.
  int exponent_first = 0;
  std::vector<int64_t> exponent_counts;
  int64_t zeros = 0;  ///< with FP32 subnormals
  // Of weight gradients that are kept as codes: the factor of automatic scaling, and what it follows, the
  // share of codes that are the largest number, of several ranks in their sum.
  std::optional<double> mu, at_largest;
  /// On the first line of a parameter's masters and moments: the largest change of a weight, unrounded.
  std::optional<double> update_amax;
};

/// Fills the figures of a record that come from the elements, and those of its scale, or of all its scales.
void fill_record(TensorRecord& record, const QuantizeStats& stats, float scale);
void fill_record(TensorRecord& record, const QuantizeStats& stats, std::span<const float> scales);

/// One JSON object without a line end; `scales` and `median_scale_exponent` only where there are several.
/// Infinities and NaN, which JSON does not have, are null.
std::string to_json(const TensorRecord& record);

}  // namespace octavo
