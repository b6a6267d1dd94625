// SPDX-License-Identifier: Apache-2.0
// What the page must know of a number format.
#pragma once
#include <optional>
#include <string>

#include "octavo/numerics/format.h"

namespace octavo {

struct FormatFacts {
  std::string name;
  int exponent_bits = 0, mantissa_bits = 0;
  double max = 0, min_normal = 0, min_subnormal = 0;
  double ideal_snr_db = 0;
};

/// Signal to noise, in dB, of values spread evenly in their logarithm over one octave of the format's normal
/// numbers, rounded to nearest even: what a perfectly scaled tensor gets. Integrated from the format's own
/// encoder. In closed form 10 log10(18 / ln 2 · 4^m) for m stored mantissa bits.
double ideal_snr_db(Format format);

/// Of an 8-bit format with a sign by its name; nothing for other words.
std::optional<FormatFacts> format_facts(const std::string& name);

}  // namespace octavo
