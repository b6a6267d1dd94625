// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <cmath>
#include <functional>

#include "octavo/base/error.h"
#include "octavo/base/load_as.h"
#include "octavo/base/quote_name.h"
#include "octavo/lab/inspect.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

constexpr size_t kBlock = 4096;

/// Mean and variance block by block, two passes within each, joined after Chan, Golub and LeVeque: sums of
/// squares alone would lose a spread of 1e-6 around 1, which is what norm weights have.
class Moments {
 public:
  void add(const double* values, size_t count) {
    double sum = 0, kept = 0;
    for (size_t i = 0; i < count; ++i) {
      if (!std::isfinite(values[i])) {
        ++not_finite_;
        continue;
      }
      sum += values[i];
      kept += 1;
      min_ = std::fmin(min_, values[i]);
      max_ = std::fmax(max_, values[i]);
    }
    if (kept == 0) return;
    const double mean = sum / kept;
    double squares = 0;
    for (size_t i = 0; i < count; ++i)
      if (std::isfinite(values[i])) squares += (values[i] - mean) * (values[i] - mean);
    const double total = count_ + kept, apart = mean - mean_;
    squares_ += squares + apart * apart * count_ * kept / total;
    mean_ += apart * kept / total;
    count_ = total;
  }
  void fill(TensorFacts& facts) const {
    facts.not_finite = not_finite_;
    facts.has_values = count_ > 0;
    if (!facts.has_values) return;
    facts.min = min_;
    facts.max = max_;
    facts.amax = std::fmax(std::fabs(min_), std::fabs(max_));
    facts.mean = mean_;
    facts.std = std::sqrt(squares_ / count_);
  }

 private:
  double count_ = 0, mean_ = 0, squares_ = 0, min_ = HUGE_VAL, max_ = -HUGE_VAL;
  uint64_t not_finite_ = 0;
};

/// Decodes `count` elements from `at`. Empty for types without a value of their own on the number line.
using Decoder = std::function<void(const std::byte* at, size_t count, double* out)>;

template <class T, class Convert>
Decoder decoder(Convert convert) {
  return [convert](const std::byte* at, size_t count, double* out) {
    for (size_t i = 0; i < count; ++i) out[i] = static_cast<double>(convert(load_as<T>(at + i * sizeof(T))));
  };
}
template <class T>
Decoder plain() {
  return decoder<T>([](T value) { return value; });
}
Decoder code(Format format) {
  return decoder<uint8_t>([format](uint8_t c) { return decode(format, c); });
}

Decoder decoder_of(FileDtype dtype) {
  switch (dtype) {
    case FileDtype::boolean:
    case FileDtype::u8:
      return plain<uint8_t>();
    case FileDtype::i8:
      return plain<int8_t>();
    case FileDtype::f8_e5m2:
      return code(Format::e5m2);
    case FileDtype::f8_e4m3:
      return code(Format::e4m3);
    case FileDtype::f8_e8m0:
      return code(Format::e8m0);
    case FileDtype::f8_e4m3fnuz:
      return code(Format::e4m3fnuz);
    case FileDtype::f8_e5m2fnuz:
      return code(Format::e5m2fnuz);
    case FileDtype::i16:
      return plain<int16_t>();
    case FileDtype::u16:
      return plain<uint16_t>();
    case FileDtype::f16:
      return decoder<uint16_t>([](uint16_t c) { return decode(Format::fp16, c); });
    case FileDtype::bf16:
      return decoder<uint16_t>([](uint16_t c) { return bf16_to_float(c); });
    case FileDtype::i32:
      return plain<int32_t>();
    case FileDtype::u32:
      return plain<uint32_t>();
    case FileDtype::f32:
      return plain<float>();
    case FileDtype::f64:
      return plain<double>();
    case FileDtype::i64:
      return plain<int64_t>();
    case FileDtype::u64:
      return plain<uint64_t>();
    default:
      return {};
  }
}

std::optional<Format> fp8_format(FileDtype dtype) {
  switch (dtype) {
    case FileDtype::f8_e4m3:
      return Format::e4m3;
    case FileDtype::f8_e5m2:
      return Format::e5m2;
    case FileDtype::f8_e4m3fnuz:
      return Format::e4m3fnuz;
    case FileDtype::f8_e5m2fnuz:
      return Format::e5m2fnuz;
    default:
      return {};
  }
}

Occupancy occupancy(Format format, std::span<const std::byte> codes) {
  std::array<uint64_t, 256> counts{};
  for (const std::byte c : codes) ++counts[std::to_integer<size_t>(c)];
  const FormatSpec s = spec(format);
  Occupancy out;
  out.first_exponent = s.min_exponent();
  const int fields = 1 << s.exponent_bits;
  out.exponents.assign(static_cast<size_t>(fields) - 1, 0);
  uint64_t zeros = 0, subnormals = 0, saturated = 0;
  for (uint32_t c = 0; c < 256; ++c) {
    const double value = static_cast<double>(decode(format, c));
    if (counts[c] == 0 || !std::isfinite(value)) continue;
    const uint32_t magnitude = c & ~s.sign_mask(), field = magnitude >> s.mantissa_bits;
    if (value == 0)
      zeros += counts[c];
    else if (field == 0)
      subnormals += counts[c];
    else
      out.exponents[field - 1] += counts[c];
    if (magnitude == s.max_code) saturated += counts[c];
  }
  // E5M2 keeps its last field for infinities and NaN.
  if (s.has_inf()) out.exponents.pop_back();
  const double all = std::fmax(1, static_cast<double>(codes.size()));
  out.zeros = static_cast<double>(zeros) / all;
  out.subnormals = static_cast<double>(subnormals) / all;
  out.saturated = static_cast<double>(saturated) / all;
  return out;
}

/// The scale of each element: one for the tensor, one for each row [rows, 1], or blocks of 128 x 128 (the
/// last ones cut).
class Scales {
 public:
  Scales(const TensorInfo& tensor, const TensorInfo& scale) {
    const std::vector<uint64_t>& shape = tensor.shape();
    const Decoder decode_scale = decoder_of(scale.dtype());
    values_.resize(scale.elements());
    if (!decode_scale || values_.empty())
      fail_data(fmt::format("'{}': tensor {} holds no scale ({}, {} elements)", scale.file(),
                            quote_name(scale.name()), file_dtype_name(scale.dtype()), scale.elements()));
    decode_scale(scale.data().data(), values_.size(), values_.data());
    const uint64_t rows = shape.empty() ? 1 : shape[0], columns = rows ? tensor.elements() / rows : 0;
    columns_ = columns;
    if (values_.size() == 1) {
      row_block_ = std::max<uint64_t>(rows, 1);
      column_block_ = std::max<uint64_t>(columns, 1);
    } else if (values_.size() == rows) {
      row_block_ = 1;
      column_block_ = std::max<uint64_t>(columns, 1);
    } else {
      constexpr uint64_t kSide = 128;
      row_block_ = column_block_ = kSide;
      across_ = (columns + kSide - 1) / kSide;
      if (shape.size() != 2 || values_.size() != (rows + kSide - 1) / kSide * across_)
        fail_data(fmt::format(
            "'{}': {} scales in {} do not fit tensor {} of {} rows and {} columns: expected one, one a "
            "row, or one a block of 128 x 128",
            scale.file(), values_.size(), quote_name(scale.name()), quote_name(tensor.name()), rows,
            columns));
    }
  }
  double at(uint64_t element) const {
    const uint64_t row = element / columns_, column = element % columns_;
    return values_[row / row_block_ * across_ + column / column_block_];
  }
  const std::vector<double>& values() const { return values_; }

 private:
  std::vector<double> values_;
  uint64_t columns_ = 0, row_block_ = 1, column_block_ = 1, across_ = 1;
};

}  // namespace

TensorFacts tensor_facts(const TensorInfo& tensor, const TensorInfo* scale) {
  TensorFacts facts;
  facts.name = tensor.name();
  facts.file = tensor.file();
  facts.dtype = file_dtype_name(tensor.dtype());
  facts.shape = tensor.shape();
  facts.elements = tensor.elements();
  facts.bytes = tensor_bytes(tensor.dtype(), tensor.shape()).value_or(0);
  const Decoder decode_block = decoder_of(tensor.dtype());
  if (!decode_block || facts.elements == 0) return facts;
  const std::span<const std::byte> data = tensor.data();
  std::optional<Scales> scales;
  if (const std::optional<Format> format = fp8_format(tensor.dtype())) {
    facts.occupancy = occupancy(*format, data);
    if (scale) {
      scales.emplace(tensor, *scale);
      facts.occupancy->scale_tensor = scale->name();
      facts.occupancy->scale_low = facts.occupancy->scale_high = scales->values().front();
      for (const double value : scales->values()) {
        facts.occupancy->scale_low = std::fmin(facts.occupancy->scale_low, value);
        facts.occupancy->scale_high = std::fmax(facts.occupancy->scale_high, value);
      }
    }
  }
  Moments moments;
  std::array<double, kBlock> block;
  const size_t bytes = static_cast<size_t>(file_dtype_bits(tensor.dtype())) / 8;
  for (uint64_t begin = 0; begin < facts.elements; begin += kBlock) {
    const size_t count = static_cast<size_t>(std::min<uint64_t>(kBlock, facts.elements - begin));
    decode_block(data.data() + begin * bytes, count, block.data());
    if (scales)
      for (size_t i = 0; i < count; ++i) block[i] *= scales->at(begin + i);
    moments.add(block.data(), count);
  }
  moments.fill(facts);
  return facts;
}

TensorFacts tensor_facts(const std::string& name, const std::string& file, const std::vector<uint64_t>& shape,
                         const std::vector<float>& values) {
  TensorFacts facts;
  facts.name = name;
  facts.file = file;
  facts.dtype = "F32";
  facts.shape = shape;
  facts.elements = values.size();
  facts.bytes = values.size() * sizeof(float);
  Moments moments;
  std::array<double, kBlock> block;
  for (size_t begin = 0; begin < values.size(); begin += kBlock) {
    const size_t count = std::min(kBlock, values.size() - begin);
    for (size_t i = 0; i < count; ++i) block[i] = static_cast<double>(values[begin + i]);
    moments.add(block.data(), count);
  }
  moments.fill(facts);
  return facts;
}

}  // namespace octavo
