// SPDX-License-Identifier: Apache-2.0
// For the files that split element-wise work among threads; not for users of the kernels.
#pragma once
#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdint>

#include "octavo/kernels/quantize.h"
#include "octavo/kernels/registry.h"
#include "octavo/numerics/float_bits.h"
#include "octavo/tensor/matrix.h"

namespace octavo {

/// Elements below which waking another thread costs more than it saves.
inline constexpr int64_t kGrainElements = 8192;

inline int64_t rows_per_grain(int64_t cols) {
  return std::max<int64_t>(1, kGrainElements / std::max<int64_t>(1, cols));
}

inline bool is_fp32_or_bf16(Format format) { return format == Format::fp32 || format == Format::bf16; }

/// Row r from column `first` on; an absent matrix gives an absent row.
inline ConstRow row_at(const ConstMatrix& m, int64_t r, int64_t first = 0) {
  if (!m.data) return {};
  assert(is_fp32_or_bf16(m.format));
  return {m.row(r) + first * bytes(m.format), m.format == Format::bf16};
}
inline Row row_at(const Matrix& m, int64_t r, int64_t first = 0) {
  if (!m.data) return {};
  assert(is_fp32_or_bf16(m.format));
  return {m.row(r) + first * bytes(m.format), m.format == Format::bf16};
}

/// The largest magnitude over threads, as the bits row kernels return. A maximum does not depend on the
/// order.
class SharedAmax {
 public:
  void raise(uint32_t bits) {
    uint32_t seen = bits_.load(std::memory_order_relaxed);
    while (bits > seen && !bits_.compare_exchange_weak(seen, bits, std::memory_order_relaxed)) {
    }
  }
  float value() const { return float_from_bits(bits_.load(std::memory_order_relaxed)); }

 private:
  std::atomic<uint32_t> bits_{0};
};

/// A format of 8 or 16 bits with a sign, as row kernels want it told.
CodeGrid code_grid(Format format, Overflow overflow);

/// Writes codes stretch by stretch, by whichever thread.
class RowEncoder {
 public:
  explicit RowEncoder(const CodesOut& out);
  /// Columns [first, first + count) of row r. `stream`: past the caches, for what is too large to stay there.
  /// Returns the largest magnitude of x.
  uint32_t encode(ConstRow x, int64_t r, int64_t first, int64_t count, bool stream = false) const;
  /// The same, faster, of FP32 values whose largest magnitude is known (bits).
  uint32_t encode_known(const float* x, uint32_t amax, int64_t r, int64_t first, int64_t count,
                        bool stream) const;

 private:
  QuantizeRow row_of(ConstRow x, int64_t r, int64_t first, int64_t count, bool stream) const;

  const CodesOut& out_;
  const RowKernels& kernels_;
  float largest_ = 0;
  bool plain_;  ///< fp32 or bf16
  CodeGrid grid_{};
};

/// A stretch of values on its way to becoming codes. It never leaves L1.
inline constexpr int64_t kStretch = 2048;
struct alignas(64) StretchBuffer {
  float values[kStretch];
  Row row(Format format) { return {values, format == Format::bf16}; }
};

}  // namespace octavo
