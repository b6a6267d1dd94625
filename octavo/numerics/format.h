// SPDX-License-Identifier: Apache-2.0
// The number formats: one description each, from which all encoding, decoding and limits follow.
// Sources: OCP OFP8 1.0 (e4m3, e5m2), OCP MX 1.0 (e8m0), arXiv 2206.02915 (the FNUZ formats), IEEE 754 (fp16,
// fp32).
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>

namespace octavo {

enum class Format : uint8_t { e4m3, e5m2, e4m3fnuz, e5m2fnuz, e8m0, bf16, fp16, fp32 };

inline constexpr Format kAllFormats[] = {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz,
                                         Format::e8m0, Format::bf16, Format::fp16,     Format::fp32};

/// A binary floating-point format. Codes without the sign bit count up with the value, from zero to
/// `max_code`.
struct FormatSpec {
  std::string_view name;
  int bits;           ///< width of a code
  int exponent_bits;  ///< bits == has_sign + exponent_bits + mantissa_bits
  int mantissa_bits;  ///< stored ones
  int bias;           ///< a normal number is 1.mantissa * 2^(exponent field - bias)
  bool has_sign;      ///< false for e8m0, which has no zero and no subnormals either
  bool has_negative_zero;
  uint32_t max_code;  ///< largest finite number
  uint32_t inf_code;  ///< +Inf, or 0 when the format has none
  uint32_t nan_code;  ///< the NaN that encode writes; the sign is put on top where -0 exists

  constexpr bool has_inf() const noexcept { return inf_code != 0; }
  /// Exponent of the smallest normal number.
  constexpr int min_exponent() const noexcept { return has_sign ? 1 - bias : -bias; }
  constexpr uint32_t sign_mask() const noexcept { return has_sign ? uint32_t{1} << (bits - 1) : 0; }
};

constexpr FormatSpec spec(Format format) noexcept {
  switch (format) {
    case Format::e4m3:
      return {"e4m3", 8, 4, 3, 7, true, true, 0x7e, 0, 0x7f};
    case Format::e5m2:
      return {"e5m2", 8, 5, 2, 15, true, true, 0x7b, 0x7c, 0x7e};
    case Format::e4m3fnuz:
      return {"e4m3fnuz", 8, 4, 3, 8, true, false, 0x7f, 0, 0x80};
    case Format::e5m2fnuz:
      return {"e5m2fnuz", 8, 5, 2, 16, true, false, 0x7f, 0, 0x80};
    case Format::e8m0:
      return {"e8m0", 8, 8, 0, 127, false, false, 0xfe, 0, 0xff};
    case Format::bf16:
      return {"bf16", 16, 8, 7, 127, true, true, 0x7f7f, 0x7f80, 0x7fc0};
    case Format::fp16:
      return {"fp16", 16, 5, 10, 15, true, true, 0x7bff, 0x7c00, 0x7e00};
    case Format::fp32:
      break;
  }
  return {"fp32", 32, 8, 23, 127, true, true, 0x7f7fffff, 0x7f800000, 0x7fc00000};
}

/// The unsigned integer that holds a code of F.
template <Format F>
using Code = std::conditional_t<spec(F).bits == 8, uint8_t,
                                std::conditional_t<spec(F).bits == 16, uint16_t, uint32_t>>;

/// The name used in recipes, for example "e4m3".
constexpr std::string_view to_string(Format format) noexcept { return spec(format).name; }

/// The format of that name, or nothing.
constexpr std::optional<Format> format_from_string(std::string_view name) noexcept {
  for (Format format : kAllFormats)
    if (spec(format).name == name) return format;
  return std::nullopt;
}

/// Size of a code in bytes: 1, 2 or 4.
constexpr int bytes(Format format) noexcept { return spec(format).bits / 8; }
constexpr int mantissa_bits(Format format) noexcept { return spec(format).mantissa_bits; }
constexpr bool has_inf(Format format) noexcept { return spec(format).has_inf(); }

}  // namespace octavo
