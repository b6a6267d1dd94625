// SPDX-License-Identifier: Apache-2.0
// Tensors in every stored format, element by element, for the tests of kernels on them.
#pragma once
#include "octavo/kernels/stored.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"
#include "tests/kernels/row_test.h"

namespace octavo {

inline constexpr Format kStoredFormats[] = {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz,
                                            Format::bf16, Format::fp16, Format::fp32};

/// A tensor of its own with its scale.
class StoredTensor {
 public:
  StoredTensor(Format format, int64_t n, float scale)
      : format_(format),
        n_(n),
        scale_(format == Format::fp32 || format == Format::bf16 ? 1.0f : scale),
        memory_(static_cast<size_t>(n * bytes(format)), 0xa5) {}

  Stored view() { return {memory_.data(), format_, scale_}; }
  int64_t size() const { return n_; }
  Format format() const { return format_; }
  float scale() const { return scale_; }
  void set_scale(float scale) { scale_ = scale; }
  const std::vector<uint8_t>& memory() const { return memory_; }
  uint32_t code(int64_t i) const {
    uint32_t code = 0;
    std::memcpy(&code, memory_.data() + i * bytes(format_), static_cast<size_t>(bytes(format_)));
    return code;
  }
  void set_code(int64_t i, uint32_t code) {
    std::memcpy(memory_.data() + i * bytes(format_), &code, static_cast<size_t>(bytes(format_)));
  }
  float value(int64_t i) const {
    const float element = decode(format_, code(i));
    return format_ == Format::fp32 || format_ == Format::bf16 ? element : element * scale_;
  }
  std::vector<float> values() const {
    std::vector<float> out(static_cast<size_t>(n_));
    for (int64_t i = 0; i < n_; ++i) out[static_cast<size_t>(i)] = value(i);
    return out;
  }
  /// The nearest codes of x[n].
  void set(const std::vector<float>& x) {
    for (int64_t i = 0; i < n_; ++i)
      set_code(
          i, encode(format_, x[static_cast<size_t>(i)] / scale_, Rounding::nearest_even, Overflow::saturate));
  }
  void fill(uint64_t seed, double sigma) { set(random_vector(n_, seed, sigma)); }

 private:
  Format format_;
  int64_t n_;
  float scale_;
  std::vector<uint8_t> memory_;
};

/// What a value becomes as element i of a call.
inline uint32_t expected_code(float x, int64_t i, const Stored& out, const CodeRule& rule) {
  if (out.format == Format::fp32) return float_bits(x);
  const uint32_t random = rule.rounding == Rounding::stochastic
                              ? Rng(rule.seed).words(rule.first + static_cast<uint64_t>(i))[0]
                              : 0;
  return encode(out.format, x / out.scale, rule.rounding, rule.overflow, random);
}

inline int64_t count_saturated(const StoredTensor& x, int64_t n) {
  const FormatSpec s = spec(x.format());
  if (x.format() == Format::fp32 || x.format() == Format::bf16) return 0;
  int64_t count = 0;
  for (int64_t i = 0; i < n; ++i) count += (x.code(i) & ~s.sign_mask()) == s.max_code;
  return count;
}

}  // namespace octavo
