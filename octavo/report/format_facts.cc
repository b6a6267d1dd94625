// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/format_facts.h"

#include <cmath>

#include "octavo/numerics/encode.h"

namespace octavo {

double ideal_snr_db(Format format) {
  // The midpoints of equal stretches of log2 x in the octave of 1, which is normal in every format with a
  // sign.
  constexpr int kPoints = 1 << 15;
  double signal = 0, noise = 0;
  for (int i = 0; i < kPoints; ++i) {
    const double x = std::exp2((i + 0.5) / kPoints);
    const double kept = static_cast<double>(
        quantize_value(format, static_cast<float>(x), Rounding::nearest_even, Overflow::saturate));
    signal += x * x;
    noise += (x - kept) * (x - kept);
  }
  return 10 * std::log10(signal / noise);
}

std::optional<FormatFacts> format_facts(const std::string& name) {
  const std::optional<Format> format = format_from_string(name);
  if (!format || spec(*format).bits != 8 || !spec(*format).has_sign) return std::nullopt;
  FormatFacts facts;
  facts.name = name;
  facts.exponent_bits = spec(*format).exponent_bits;
  facts.mantissa_bits = spec(*format).mantissa_bits;
  facts.max = static_cast<double>(max_finite(*format));
  facts.min_normal = static_cast<double>(min_normal(*format));
  facts.min_subnormal = static_cast<double>(min_subnormal(*format));
  facts.ideal_snr_db = ideal_snr_db(*format);
  return facts;
}

}  // namespace octavo
