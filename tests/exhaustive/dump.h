// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include "octavo/numerics/format.h"
#include "octavo/numerics/rounding.h"

namespace octavo {

/// Writes little-endian records of three 32-bit words: FP32 input bits, random word, code. The inputs are all
/// 2^16 BF16 numbers and then 2^20 fixed pseudo-random FP32 numbers: half of them any bit pattern, half with
/// exponents around the range of the 8-bit formats. For comparison with other implementations.
void dump_codes(Format format, Rounding rounding, Overflow overflow, const std::string& path);

}  // namespace octavo
