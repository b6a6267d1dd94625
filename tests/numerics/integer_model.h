// SPDX-License-Identifier: Apache-2.0
// A second definition of encoding, made to share nothing with the production code: the sorted list of the
// numbers a format holds, midpoints between them, and comparisons in double, where all of it is exact. It
// answers for single inputs, and hands out runs of consecutive FP32 bit patterns so that all 2^32 inputs can
// be swept cheaply.
#pragma once
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "octavo/numerics/format.h"
#include "octavo/numerics/rounding.h"

namespace octavo {

class IntegerModel {
 public:
  /// FP32 bit patterns [first, end) of one sign (end is 2^32 for the last) between the same two neighbours.
  /// The expected code is `low`, or `high` when fraction(x) + random_bits passes 2^32 - 1.
  struct Segment {
    uint64_t first, end;
    uint32_t low, high;
    double low_value, scale;  ///< fraction = floor((|x| - low_value) * scale)

    uint32_t expected(uint32_t bits, uint32_t random_bits) const {
      const double x = std::bit_cast<float>(bits & 0x7fffffff);
      const uint64_t fraction = static_cast<uint64_t>((x - low_value) * scale);
      return fraction + random_bits >= uint64_t{1} << 32 ? high : low;
    }
  };

  explicit IntegerModel(Format format) {
    switch (format) {
      case Format::e4m3:
        build(4, 3, 7, 0x7e, 0x80), nan_ = 0x7f;
        break;
      case Format::e5m2:
        build(5, 2, 15, 0x7b, 0x80), nan_ = 0x7e, inf_ = 0x7c;
        break;
      case Format::e4m3fnuz:
        build(4, 3, 8, 0x7f, 0x80), nan_ = 0x80, unsigned_zero_ = true;
        break;
      case Format::e5m2fnuz:
        build(5, 2, 16, 0x7f, 0x80), nan_ = 0x80, unsigned_zero_ = true;
        break;
      case Format::bf16:
        build(8, 7, 127, 0x7f7f, 0x8000), nan_ = 0x7fc0, inf_ = 0x7f80;
        break;
      case Format::fp16:
        build(5, 10, 15, 0x7bff, 0x8000), nan_ = 0x7e00, inf_ = 0x7c00;
        break;
      case Format::e8m0:
        for (int code = 0; code <= 255; ++code) values_.push_back(std::ldexp(1.0, code - 127));
        nan_ = 0xff, sign_ = 0;
        break;
      case Format::fp32:
        break;  // encoding fp32 is the identity; there is nothing to list
    }
    for (size_t i = 0; i < values_.size(); ++i) {
      truncate_from_.push_back(i == 0 ? 0 : bits_of(values_[i]));
      if (i == 0) {
        nearest_from_.push_back(0);
        continue;
      }
      // The tie belongs to the even one of the two.
      const uint32_t tie = bits_of((values_[i - 1] + values_[i]) / 2);
      nearest_from_.push_back(i % 2 == 0 ? tie : tie + 1);
    }
  }

  /// The numbers held, ascending from the smallest non-negative one; the index is the code. One more follows
  /// that the format would hold next, if its range did not end.
  const std::vector<double>& values() const { return values_; }
  uint32_t top() const { return static_cast<uint32_t>(values_.size()) - 2; }

  /// The neighbours of |x| and where it lies between them; found once, then asked for any rounding.
  struct Place {
    uint32_t bits;
    uint32_t lower;     ///< index of the largest value <= |x|; top() + 1 from there on
    int against_tie;    ///< sign of |x| - midpoint
    uint32_t fraction;  ///< floor of the way to the next value in 2^-32
  };
  Place locate(uint32_t bits) const {
    const double x = std::fabs(static_cast<double>(std::bit_cast<float>(bits)));
    if (!(x < values_.back())) return {bits, top() + 1, -1, 0};
    if (x < values_[0]) return {bits, 0, -1, 0};
    const auto above = std::upper_bound(values_.begin(), values_.end(), x);
    const double low = above[-1], high = *above, tie = (low + high) / 2;
    const uint32_t lower = static_cast<uint32_t>(above - values_.begin()) - 1;
    return {bits, lower, x < tie ? -1 : x > tie, static_cast<uint32_t>((x - low) / (high - low) * 0x1p32)};
  }

  uint32_t encode(const Place& at, Rounding rounding, Overflow overflow, uint32_t random_bits) const {
    bool up = false;
    if (rounding == Rounding::nearest_even)
      up = at.against_tie > 0 || (at.against_tie == 0 && at.lower % 2 == 1);
    if (rounding == Rounding::stochastic) up = uint64_t{at.fraction} + random_bits >= uint64_t{1} << 32;
    return code(at.bits, at.lower + up, overflow);
  }
  uint32_t encode(uint32_t bits, Rounding rounding, Overflow overflow, uint32_t random_bits) const {
    return encode(locate(bits), rounding, overflow, random_bits);
  }

  /// fn(Segment) for consecutive segments that cover the bit patterns [first, end), end <= 2^32.
  template <class Fn>
  void for_segments(uint64_t first, uint64_t end, Rounding rounding, Overflow overflow, Fn&& fn) const {
    const std::vector<uint32_t>& from = rounding == Rounding::nearest_even ? nearest_from_ : truncate_from_;
    while (first < end) {
      const uint64_t half = first & 0x80000000;
      const uint32_t magnitude = static_cast<uint32_t>(first - half);
      const auto next = std::upper_bound(from.begin(), from.end(), magnitude);
      const uint32_t index = static_cast<uint32_t>(next - from.begin()) - 1;
      Segment s{first, half + 0x80000000, 0, 0, 0.0, 0.0};
      if (magnitude <= kInfinity) s.end = half + (index > top() ? kInfinity + 1 : *next);
      if (magnitude == 0) s.end = first + 1;  // the two zeros may differ from what follows them
      const double smallest = values_[0];
      const bool below_all = std::bit_cast<float>(magnitude) < smallest;
      if (below_all && magnitude != 0) s.end = std::min<uint64_t>(s.end, half + bits_of(smallest));
      s.end = std::min(s.end, end);
      s.low = s.high = code(static_cast<uint32_t>(first), index, overflow);
      if (rounding == Rounding::stochastic && index <= top() && magnitude <= kInfinity && !below_all) {
        s.high = code(static_cast<uint32_t>(first), index + 1, overflow);
        s.low_value = values_[index];
        s.scale = 0x1p32 / (values_[index + 1] - values_[index]);
      }
      fn(static_cast<const Segment&>(s));
      first = s.end;
    }
  }

  /// The code of the value with this index and the sign (or the NaN) of the FP32 number `bits`.
  uint32_t code(uint32_t bits, uint32_t index, Overflow overflow) const {
    const bool negative = bits >> 31, nan = (bits & 0x7fffffff) > kInfinity;
    if (sign_ == 0 && negative && bits != 0x80000000) return nan_;
    const uint32_t sign = negative ? sign_ : 0;
    const uint32_t signed_nan = unsigned_zero_ ? nan_ : nan_ | sign;
    if (nan) return signed_nan;
    if (index == 0 && unsigned_zero_) return 0;
    if (index <= top()) return index | sign;
    if (overflow == Overflow::saturate) return top() | sign;
    return overflow == Overflow::inf && inf_ ? inf_ | sign : signed_nan;
  }

 private:
  static constexpr uint32_t kInfinity = 0x7f800000;

  static uint32_t bits_of(double exact) {
    const float x = exact < 0x1p128 ? static_cast<float>(exact) : std::numeric_limits<float>::infinity();
    return std::bit_cast<uint32_t>(x);
  }

  void build(int exponent_bits, int mantissa_bits, int bias, uint32_t top_code, uint32_t sign) {
    sign_ = sign;
    const uint32_t per_octave = 1u << mantissa_bits;
    for (uint32_t field = 0; field <= 1u << exponent_bits && values_.size() < top_code + 2; ++field)
      for (uint32_t mantissa = 0; mantissa < per_octave && values_.size() < top_code + 2; ++mantissa) {
        const double significand = (field ? 1.0 : 0.0) + static_cast<double>(mantissa) / per_octave;
        values_.push_back(std::ldexp(significand, static_cast<int>(std::max(field, 1u)) - bias));
      }
  }

  std::vector<double> values_;
  std::vector<uint32_t> truncate_from_, nearest_from_;  ///< first magnitude bits that give index i
  uint32_t sign_ = 0, nan_ = 0, inf_ = 0;
  bool unsigned_zero_ = false;
};

}  // namespace octavo
