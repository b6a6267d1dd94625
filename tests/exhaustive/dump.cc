// SPDX-License-Identifier: Apache-2.0
#include "dump.h"

#include <cerrno>
#include <cstdint>
#include <fstream>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/rng.h"
#include "octavo/numerics/encode.h"

namespace octavo {

void dump_codes(Format format, Rounding rounding, Overflow overflow, const std::string& path) {
  constexpr uint32_t kBf16Inputs = 1u << 16, kRandomInputs = 1u << 20;
  const Rng rng(1);
  std::vector<uint32_t> words;
  words.reserve(size_t{3} * (kBf16Inputs + kRandomInputs));
  for (uint32_t i = 0; i < kBf16Inputs + kRandomInputs; ++i) {
    const auto draw = rng.words(i);
    uint32_t bits = i << 16;
    if (i >= kBf16Inputs) {
      bits = draw[0];
      // Exponents from 2^-20 to 2^19 around the formats' ranges.
      if (i % 2) bits = (bits & 0x807fffff) | (107 + draw[2] % 40) << 23;
    }
    const uint32_t code = encode(format, float_from_bits(bits), rounding, overflow, draw[1]);
    words.insert(words.end(), {bits, draw[1], code});
  }
  std::ofstream out(path, std::ios::binary);
  for (const uint32_t word : words)
    for (int shift = 0; shift < 32; shift += 8) out.put(static_cast<char>(word >> shift & 0xff));
  out.close();
  if (!out) fail_errno("cannot write", path);
}

}  // namespace octavo
