// SPDX-License-Identifier: Apache-2.0
// What happens to a number a format cannot hold. Both are always explicit arguments.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace octavo {

/// How a number between two neighbours of a format is rounded.
enum class Rounding : uint8_t {
  nearest_even,  ///< to the nearer one; a tie goes to the even code
  stochastic,    ///< away from zero with the probability of the fraction passed, see encode()
  truncate       ///< to the one nearer to zero
};

/// What a number becomes that is still beyond the largest finite one after rounding.
enum class Overflow : uint8_t {
  saturate,  ///< the largest finite number with its sign; this holds for infinities too
  nan,       ///< NaN, for infinities too
  inf        ///< the infinity of its sign, or NaN in a format without infinities
};

inline constexpr Rounding kAllRoundings[] = {Rounding::nearest_even, Rounding::stochastic,
                                             Rounding::truncate};
inline constexpr Overflow kAllOverflows[] = {Overflow::saturate, Overflow::nan, Overflow::inf};

/// The names used in recipes: nearest, stochastic, truncate.
constexpr std::string_view to_string(Rounding rounding) noexcept {
  switch (rounding) {
    case Rounding::nearest_even:
      return "nearest";
    case Rounding::stochastic:
      return "stochastic";
    case Rounding::truncate:
      break;
  }
  return "truncate";
}

/// The names used in recipes: saturate, nan, inf.
constexpr std::string_view to_string(Overflow overflow) noexcept {
  switch (overflow) {
    case Overflow::saturate:
      return "saturate";
    case Overflow::nan:
      return "nan";
    case Overflow::inf:
      break;
  }
  return "inf";
}

constexpr std::optional<Rounding> rounding_from_string(std::string_view name) noexcept {
  for (Rounding rounding : kAllRoundings)
    if (to_string(rounding) == name) return rounding;
  return std::nullopt;
}

constexpr std::optional<Overflow> overflow_from_string(std::string_view name) noexcept {
  for (Overflow overflow : kAllOverflows)
    if (to_string(overflow) == name) return overflow;
  return std::nullopt;
}

}  // namespace octavo
