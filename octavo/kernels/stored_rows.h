// SPDX-License-Identifier: Apache-2.0
// For the kernels that read and write stored tensors stretch by stretch; not for users of the kernels.
#pragma once
#include <atomic>

#include "octavo/kernels/quantize_stats.h"
#include "octavo/kernels/rows.h"
#include "octavo/kernels/stored.h"

namespace octavo {

/// Elements from `first` on. A format without a scale gets 1.
inline StoredRow stored_row(const void* data, Format format, float scale, int64_t first) {
  const bool plain = is_fp32_or_bf16(format);
  return {.data = static_cast<const char*>(data) + first * bytes(format),
          .format = static_cast<int>(format),
          .scale = plain ? 1.0f : scale,
          .table = bytes(format) == 1 ? decode_table(format) : nullptr};
}
inline StoredRow row_of(const Stored& x, int64_t first) {
  return stored_row(x.data, x.format, x.scale, first);
}

/// Rows of a matrix in any format with a sign, as FP32 or BF16: what is neither is decoded into a buffer.
class RowReader {
 public:
  explicit RowReader(const ConstMatrix& x, float scale = 1)
      : x_(x), scale_(scale), plain_(is_fp32_or_bf16(x.format)), kernels_(row_kernels()) {}
  bool plain() const { return plain_; }
  /// The longest stretch for read().
  int64_t most() const { return plain_ ? int64_t{1} << 62 : kStretch; }
  /// Columns [first, first + count) of row r. Valid while the buffer keeps them.
  ConstRow read(int64_t r, int64_t first, int64_t count, StretchBuffer& buffer) const {
    if (plain_) return row_at(x_, r, first);
    decode(r, first, count, buffer.values);
    return {buffer.values, false};
  }
  /// The same to `out`, if not plain. Returns the amax.
  uint32_t decode(int64_t r, int64_t first, int64_t count, float* out) const {
    return kernels_.decode(stored_row(x_.row(r), x_.format, scale_, first), out, count);
  }

 private:
  ConstMatrix x_;
  float scale_;
  bool plain_;
  const RowKernels& kernels_;
};

/// As Encoded, with the bits of the largest magnitude.
struct EncodedRow {
  uint32_t amax = 0;
  int64_t saturated = 0;
};

/// Encoded over threads. Neither field depends on the order.
class SharedEncoded {
 public:
  void add(const EncodedRow& row) {
    amax_.raise(row.amax);
    if (row.saturated) saturated_.fetch_add(row.saturated, std::memory_order_relaxed);
  }
  Encoded value() const { return {amax_.value(), saturated_.load(std::memory_order_relaxed)}; }

 private:
  SharedAmax amax_;
  std::atomic<int64_t> saturated_{0};
};

/// Writes stretches of a stored tensor, by whichever thread.
class StoredWriter {
 public:
  StoredWriter(const Stored& out, const CodeRule& rule);
  StoredWriter with_scale(float scale) const;
  float scale() const { return out_.scale; }
  float largest() const { return largest_; }  ///< number of the format
  /// Elements [first, first + count) from the values x[count], whose amax is known (bits).
  EncodedRow write(const float* x, int64_t first, int64_t count, uint32_t amax) const;
  /// The same from codes that were made elsewhere.
  EncodedRow copy(const void* codes, int64_t first, int64_t count, uint32_t amax) const;
  /// The same elements from x, which may be the same memory when elements are equally wide.
  EncodedRow rewrite(const Stored& x, int64_t first, int64_t count) const;

 private:
  /// What is known of codes in place.
  EncodedRow seen(int64_t first, int64_t count, uint32_t amax) const;

  Stored out_;
  CodeRule rule_;
  const RowKernels* kernels_;
  CodeGrid grid_{};
  float largest_ = 0, below_largest_ = 0;  ///< the two largest numbers
};

}  // namespace octavo
