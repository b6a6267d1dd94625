// SPDX-License-Identifier: Apache-2.0
// Matrices with padding between rows, and loops over variants and teams, for the tests of element-wise
// kernels.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "octavo/base/cpu.h"
#include "octavo/base/rng.h"
#include "octavo/base/thread_pool.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/float_bits.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// fn() under every instruction set this CPU has a variant for.
template <class Fn>
void for_each_isa(Fn fn) {
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512}) {
    if (isa > cpu_isa()) continue;
    SCOPED_TRACE(to_string(isa));
    set_max_isa(isa);
    fn();
  }
  set_max_isa(cpu_isa());
}

/// A matrix of its own, rows `padding` elements apart; everything starts out as the byte 0xa5.
class TestMatrix {
 public:
  TestMatrix(Format format, int64_t rows, int64_t cols, int64_t padding = 0)
      : format_(format),
        rows_(rows),
        cols_(cols),
        stride_(cols + padding),
        memory_(static_cast<size_t>(rows * stride_ * bytes(format)), 0xa5) {}

  operator Matrix() { return {memory_.data(), format_, rows_, cols_, stride_}; }
  operator ConstMatrix() const { return {memory_.data(), format_, rows_, cols_, stride_}; }
  const std::vector<uint8_t>& memory() const { return memory_; }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }

  float get(int64_t r, int64_t c) const {
    const uint8_t* p = memory_.data() + (r * stride_ + c) * bytes(format_);
    if (format_ == Format::bf16) {
      uint16_t code;
      std::memcpy(&code, p, 2);
      return bf16_to_float(code);
    }
    float value;
    std::memcpy(&value, p, 4);
    return value;
  }
  uint8_t code(int64_t r, int64_t c) const { return memory_[static_cast<size_t>(r * stride_ + c)]; }
  void set(int64_t r, int64_t c, float value) {
    uint8_t* p = memory_.data() + (r * stride_ + c) * bytes(format_);
    if (format_ == Format::bf16) {
      const uint16_t code = bf16_from_float(value);
      std::memcpy(p, &code, 2);
    } else {
      std::memcpy(p, &value, 4);
    }
  }
  /// Normal numbers with this standard deviation.
  TestMatrix& fill(uint64_t seed, double sigma = 1, double mean = 0) {
    const Rng rng(seed);
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < cols_; ++c)
        set(r, c, static_cast<float>(mean + sigma * rng.normal(static_cast<uint64_t>(r * cols_ + c))));
    return *this;
  }
  /// Largest magnitude; NaN if there is one.
  float largest() const {
    uint32_t most = 0;
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < cols_; ++c) most = std::max(most, float_bits(get(r, c)) & 0x7fffffff);
    return float_from_bits(most);
  }
  /// Whether a kernel kept off the elements between the rows.
  bool padding_intact() const {
    const int64_t element = bytes(format_);
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t b = (r * stride_ + cols_) * element; b < (r + 1) * stride_ * element; ++b)
        if (memory_[static_cast<size_t>(b)] != 0xa5) return false;
    return true;
  }

 private:
  Format format_;
  int64_t rows_, cols_, stride_;
  std::vector<uint8_t> memory_;
};

inline std::vector<float> random_vector(int64_t n, uint64_t seed, double sigma = 1, double mean = 0) {
  const Rng rng(seed);
  std::vector<float> v(static_cast<size_t>(n));
  for (size_t i = 0; i < v.size(); ++i) v[i] = static_cast<float>(mean + sigma * rng.normal(i));
  return v;
}

/// Distance of two neighbours of a format at the magnitude of x.
inline double step_at(Format format, double x) {
  int exponent = 0;
  std::frexp(x, &exponent);
  return std::ldexp(1.0, std::max(exponent, -125) - (format == Format::bf16 ? 8 : 24));
}

}  // namespace octavo
