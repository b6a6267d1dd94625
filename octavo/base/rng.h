// SPDX-License-Identifier: Apache-2.0
// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC 2011). The n-th number of a stream is a pure
// function of (seed, stream, n), so initialisation, shuffling, dropout-like draws and stochastic rounding do
// not depend on the order or the thread in which they are asked for.
#pragma once
#include <array>
#include <cmath>
#include <cstdint>

namespace octavo {

/// Four 32-bit words from a 128-bit counter and a 64-bit key.
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// A stream of numbers with random access.
class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : seed_(seed), stream_(stream) {}

  /// The four words at position n.
  std::array<uint32_t, 4> words(uint64_t n) const {
    return philox({static_cast<uint32_t>(n), static_cast<uint32_t>(n >> 32), static_cast<uint32_t>(stream_),
                   static_cast<uint32_t>(stream_ >> 32)},
                  {static_cast<uint32_t>(seed_), static_cast<uint32_t>(seed_ >> 32)});
  }
  /// Uniform 64-bit integer.
  uint64_t integer(uint64_t n) const {
    const auto w = words(n);
    return uint64_t{w[1]} << 32 | w[0];
  }
  /// Uniform in [0, 1) with 53 bits.
  double uniform(uint64_t n) const { return static_cast<double>(integer(n) >> 11) * 0x1p-53; }
  /// Standard normal by Box-Muller: one value per position.
  double normal(uint64_t n) const {
    const auto w = words(n);
    const double u = (static_cast<double>((uint64_t{w[1]} << 32 | w[0]) >> 11) + 1.0) * 0x1p-53;
    const double v = static_cast<double>((uint64_t{w[3]} << 32 | w[2]) >> 11) * 0x1p-53;
    return std::sqrt(-2.0 * std::log(u)) * std::cos(6.283185307179586 * v);
  }

 private:
  uint64_t seed_;
  uint64_t stream_;
};

}  // namespace octavo
