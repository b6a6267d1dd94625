// SPDX-License-Identifier: Apache-2.0
// Views. Everything the kernels touch is a row-major matrix of one format; rows may be apart by more than
// their length.
#pragma once
#include <cstddef>
#include <cstdint>

#include "octavo/numerics/format.h"

namespace octavo {

/// Non-owning, row-major. `stride` is the distance between rows in elements.
struct Matrix {
  void* data = nullptr;
  Format format = Format::fp32;
  int64_t rows = 0, cols = 0, stride = 0;

  std::byte* row(int64_t r) const {
    return static_cast<std::byte*>(data) +
           static_cast<size_t>(r * stride) * static_cast<size_t>(bytes(format));
  }
};

struct ConstMatrix {
  const void* data = nullptr;
  Format format = Format::fp32;
  int64_t rows = 0, cols = 0, stride = 0;

  ConstMatrix() = default;
  ConstMatrix(const void* data_, Format format_, int64_t rows_, int64_t cols_, int64_t stride_)
      : data(data_), format(format_), rows(rows_), cols(cols_), stride(stride_) {}
  ConstMatrix(const Matrix& m) : ConstMatrix(m.data, m.format, m.rows, m.cols, m.stride) {}

  const std::byte* row(int64_t r) const {
    return static_cast<const std::byte*>(data) +
           static_cast<size_t>(r * stride) * static_cast<size_t>(bytes(format));
  }
};

/// A dense matrix (stride = cols).
inline Matrix dense(void* data, Format format, int64_t rows, int64_t cols) {
  return {data, format, rows, cols, cols};
}
inline ConstMatrix dense(const void* data, Format format, int64_t rows, int64_t cols) {
  return {data, format, rows, cols, cols};
}

/// Rows [first, first + count) of a view.
inline Matrix rows_of(const Matrix& m, int64_t first, int64_t count) {
  return {m.row(first), m.format, count, m.cols, m.stride};
}
inline ConstMatrix rows_of(const ConstMatrix& m, int64_t first, int64_t count) {
  return {m.row(first), m.format, count, m.cols, m.stride};
}

}  // namespace octavo
