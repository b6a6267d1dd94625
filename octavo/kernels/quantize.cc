// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/quantize.h"

#include "octavo/kernels/quantize_stats.h"
#include "octavo/kernels/registry.h"
#include "octavo/kernels/stored_rows.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

/// Elements in one call of a row kernel; longer rows are cut, so that a single row keeps all threads busy.
constexpr int64_t kSegment = 16384;

/// From this many elements on codes are written past the caches: reading each line before it is written would
/// cost a third of the time, and nothing of them would still be cached when they are used.
constexpr int64_t kStreamElements = int64_t{32} << 20;

/// A matrix cut into stretches of rows. Dense ones are taken as a single row when nothing changes from row to
/// row.
struct Segments {
  int64_t rows, cols, length, per_row;

  Segments(int64_t rows_, int64_t cols_, bool as_one_row, int64_t most = kSegment)
      : rows(rows_), cols(cols_), length(std::min(most, kSegment)) {
    if (as_one_row) {
      cols *= rows;
      rows = 1;
    }
    per_row = (cols + length - 1) / length;
  }

  /// fn(row, first column, count).
  template <class Fn>
  void for_each(ThreadPool& pool, Fn fn) const {
    const int64_t grain = rows_per_grain(std::min(cols, length));
    pool.parallel_for(rows * per_row, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t first = i % per_row * length;
        fn(i / per_row, first, std::min(length, cols - first));
      }
    });
  }
};

}  // namespace

CodeGrid code_grid(Format format, Overflow overflow) {
  const FormatSpec s = spec(format);
  assert(s.bits <= 16 && s.has_sign);
  const uint32_t infinity = overflow == Overflow::inf && s.has_inf() ? s.inf_code : s.nan_code;
  return {.bits = s.bits,
          .mantissa_bits = s.mantissa_bits,
          .bias = s.bias,
          .max_code = s.max_code,
          .overflow_code = overflow == Overflow::saturate ? s.max_code : infinity,
          .nan_code = s.nan_code,
          .has_negative_zero = s.has_negative_zero,
          .min_normal = min_normal(format),
          .limit = 2 * max_finite(format)};
}

float amax(ConstMatrix x, ThreadPool& pool, float x_scale) {
  const RowKernels& kernels = row_kernels();
  SharedAmax largest;
  Segments(x.rows, x.cols, x.stride == x.cols).for_each(pool, [&](int64_t r, int64_t first, int64_t count) {
    largest.raise(kernels.stored_amax(stored_row(x.row(r), x.format, x_scale, first), count));
  });
  return largest.value();
}

void row_amax(ConstMatrix x, float* out, ThreadPool& pool, float x_scale) {
  const RowKernels& kernels = row_kernels();
  pool.parallel_for(x.rows, rows_per_grain(x.cols), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r)
      out[r] = float_from_bits(kernels.stored_amax(stored_row(x.row(r), x.format, x_scale, 0), x.cols));
  });
}

void column_amax(ConstMatrix x, float* out, ThreadPool& pool, float x_scale) {
  const RowKernels& kernels = row_kernels();
  const RowReader reader(x, x_scale);
  pool.parallel_for(x.cols, 64, [&](int64_t begin, int64_t end) {
    std::fill(out + begin, out + end, 0.0f);
    if (reader.plain()) {
      kernels.column_amax(row_at(x, 0, begin), x.rows, x.stride, out + begin, end - begin);
      return;
    }
    StretchBuffer buffer;
    for (int64_t c = begin; c < end; c += kStretch) {
      const int64_t count = std::min(kStretch, end - c);
      for (int64_t r = 0; r < x.rows; ++r)
        kernels.column_amax(reader.read(r, c, count, buffer), 1, count, out + c, count);
    }
  });
}

RowEncoder::RowEncoder(const CodesOut& out)
    : out_(out),
      kernels_(row_kernels()),
      largest_(max_finite(out.codes.format)),
      plain_(is_fp32_or_bf16(out.codes.format)) {
  if (out.codes.data && !plain_) grid_ = code_grid(out.codes.format, out.overflow);
}

QuantizeRow RowEncoder::row_of(ConstRow x, int64_t r, int64_t first, int64_t count, bool stream) const {
  return {.x = x,
          .codes = out_.codes.row(r) + first * bytes(out_.codes.format),
          .cols = count,
          .scale = scale_at(out_, r, 0),
          .column_scales = out_.scale_per_column ? out_.scale + first : nullptr,
          .rounding = static_cast<int>(out_.rounding),
          .stream = stream,
          .seed = out_.seed,
          .first_index = static_cast<uint64_t>(r * out_.codes.cols + first)};
}

uint32_t RowEncoder::encode(ConstRow x, int64_t r, int64_t first, int64_t count, bool stream) const {
  if (plain_) return kernels_.convert(x, row_at(out_.codes, r, first), count);
  return kernels_.quantize(row_of(x, r, first, count, stream), grid_);
}

uint32_t RowEncoder::encode_known(const float* x, uint32_t amax, int64_t r, int64_t first, int64_t count,
                                  bool stream) const {
  if (plain_) return encode({x, false}, r, first, count, stream);
  QuantizeRow row = row_of({x, false}, r, first, count, stream);
  row.bounded = !row.column_scales && float_from_bits(amax) / row.scale <= largest_;
  kernels_.quantize(row, grid_);
  return amax;
}

void quantize(const QuantizeArgs& args, ThreadPool& pool) {
  const ConstMatrix& x = args.x;
  const Matrix& codes = args.out.codes;
  assert(x.rows == codes.rows && x.cols == codes.cols);
  const RowEncoder encoder(args.out);
  const bool as_one_row =
      x.stride == x.cols && codes.stride == x.cols && !args.out.scale_per_row && !args.out.scale_per_column;
  const bool stream = x.rows * x.cols >= kStreamElements;
  SharedAmax largest;
  const RowReader reader(x, args.x_scale);
  const auto segment = [&](int64_t r, int64_t first, int64_t count) {
    if (reader.plain()) {
      largest.raise(encoder.encode(row_at(x, r, first), r, first, count, stream));
      return;
    }
    StretchBuffer buffer;
    const uint32_t amax = reader.decode(r, first, count, buffer.values);
    largest.raise(encoder.encode_known(buffer.values, amax, r, first, count, stream));
  };
  if (args.column_sums) {
    // Threads own columns. A block of rows is quantized and, still in the cache, summed: one read of memory
    // for both.
    constexpr int64_t kRows = 64;
    const RowKernels& kernels = row_kernels();
    const auto block = [&](int64_t first, int64_t last, int64_t begin, int64_t end) {
      float* const sums = args.column_sums + begin;
      const int64_t cols = end - begin;
      if (reader.plain()) {
        for (int64_t r = first; r < last; ++r) segment(r, begin, cols);
        kernels.column_sum(row_at(x, first, begin), last - first, x.stride, sums, cols);
        return;
      }
      StretchBuffer buffer;
      for (int64_t r = first; r < last; ++r) {
        float* const values = buffer.values + (r - first) * cols;
        const uint32_t amax = reader.decode(r, begin, cols, values);
        largest.raise(encoder.encode_known(values, amax, r, begin, cols, stream));
      }
      kernels.column_sum({buffer.values, false}, last - first, cols, sums, cols);
    };
    pool.parallel_for(x.cols, 64, [&](int64_t begin, int64_t end) {
      const int64_t cols = reader.plain() ? end - begin : kStretch / kRows;
      for (int64_t first = 0; first < x.rows; first += kRows)
        for (int64_t c = begin; c < end; c += cols)
          block(first, std::min(first + kRows, x.rows), c, std::min(c + cols, end));
    });
  } else {
    Segments(x.rows, x.cols, as_one_row, reader.most()).for_each(pool, segment);
  }
  if (args.amax) *args.amax = largest.value();
  if (args.stats) add_quantize_stats(args, pool);
}

void dequantize(ConstMatrix codes, const float* scale, bool scale_per_row, Matrix out, ThreadPool& pool) {
  const RowKernels& kernels = row_kernels();
  const bool plain = is_fp32_or_bf16(codes.format);
  assert(!plain || !scale);
  const float* table = plain ? nullptr : decode_table(codes.format);
  const bool as_one_row = codes.stride == codes.cols && out.stride == codes.cols && !scale_per_row;
  Segments(codes.rows, codes.cols, as_one_row).for_each(pool, [&](int64_t r, int64_t first, int64_t count) {
    if (plain) {
      kernels.convert(row_at(codes, r, first), row_at(out, r, first), count);
      return;
    }
    const float factor = scale ? scale[scale_per_row ? r : 0] : 1.0f;
    kernels.dequantize(reinterpret_cast<const uint8_t*>(codes.row(r)) + first, table, factor,
                       row_at(out, r, first), count);
  });
}

}  // namespace octavo
