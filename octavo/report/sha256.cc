// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/sha256.h"

#include <algorithm>
#include <bit>
#include <cstddef>

namespace octavo {
namespace {

// The first 32 bits of the fractions of the cube roots (constants) and square roots (start) of the first
// primes, in integers: no rounding of a floating-point root can get in.
constexpr bool is_prime(uint32_t n) {
  for (uint32_t d = 2; d * d <= n; ++d)
    if (n % d == 0) return false;
  return n > 1;
}

constexpr auto kPrimes = [] {
  std::array<uint32_t, 64> primes{};
  size_t found = 0;
  for (uint32_t n = 2; found < primes.size(); ++n)
    if (is_prime(n)) primes[found++] = n;
  return primes;
}();

__extension__ using Wide = unsigned __int128;

/// floor(2^32 * p^(1/power)), its low 32 bits.
constexpr uint32_t root_fraction(uint32_t p, int power) {
  uint64_t root = 0;  // the largest with root^power <= p * 2^(32 * power); below 2^37
  for (int bit = 36; bit >= 0; --bit) {
    const uint64_t next = root | uint64_t{1} << bit;
    Wide product = next;
    for (int i = 1; i < power; ++i) product *= next;
    if (product <= Wide{p} << (32 * power)) root = next;
  }
  return static_cast<uint32_t>(root);
}

constexpr auto kConstants = [] {
  std::array<uint32_t, 64> k{};
  for (size_t i = 0; i < k.size(); ++i) k[i] = root_fraction(kPrimes[i], 3);
  return k;
}();

void add_block(const uint8_t* block, std::array<uint32_t, 8>& state) {
  std::array<uint32_t, 64> w{};
  for (size_t i = 0; i < 16; ++i)
    for (size_t byte = 0; byte < 4; ++byte) w[i] = w[i] << 8 | block[4 * i + byte];
  for (size_t i = 16; i < 64; ++i) {
    const uint32_t a = w[i - 15], b = w[i - 2];
    w[i] = w[i - 16] + (std::rotr(a, 7) ^ std::rotr(a, 18) ^ a >> 3) + w[i - 7] +
           (std::rotr(b, 17) ^ std::rotr(b, 19) ^ b >> 10);
  }
  std::array<uint32_t, 8> s = state;
  for (size_t i = 0; i < 64; ++i) {
    const uint32_t e = s[4], a = s[0];
    const uint32_t t1 = s[7] + (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) +
                        ((e & s[5]) ^ (~e & s[6])) + kConstants[i] + w[i];
    const uint32_t t2 =
        (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]));
    s = {t1 + t2, s[0], s[1], s[2], s[3] + t1, s[4], s[5], s[6]};
  }
  for (size_t i = 0; i < 8; ++i) state[i] += s[i];
}

}  // namespace

std::array<uint8_t, 32> sha256(std::string_view text) {
  std::array<uint32_t, 8> state{};
  for (size_t i = 0; i < 8; ++i) state[i] = root_fraction(kPrimes[i], 2);
  std::string padded(text);
  padded += '\x80';
  while (padded.size() % 64 != 56) padded += '\0';
  const uint64_t bits = uint64_t{text.size()} * 8;
  for (int shift = 56; shift >= 0; shift -= 8) padded += static_cast<char>(bits >> shift & 0xff);
  for (size_t at = 0; at < padded.size(); at += 64)
    add_block(reinterpret_cast<const uint8_t*>(padded.data()) + at, state);
  std::array<uint8_t, 32> out{};
  for (size_t i = 0; i < 32; ++i) out[i] = static_cast<uint8_t>(state[i / 4] >> (24 - 8 * (i % 4)));
  return out;
}

std::string sha256_base64(std::string_view text) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::array<uint8_t, 32> hash = sha256(text);
  std::string out;
  for (size_t i = 0; i < hash.size(); i += 3) {
    const size_t have = std::min<size_t>(3, hash.size() - i);
    uint32_t group = 0;
    for (size_t b = 0; b < 3; ++b) group = group << 8 | (b < have ? hash[i + b] : 0u);
    for (size_t c = 0; c < 4; ++c) out += c <= have ? letters[group >> (18 - 6 * c) & 63] : '=';
  }
  return out;
}

}  // namespace octavo
