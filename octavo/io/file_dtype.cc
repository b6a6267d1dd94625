// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/file_dtype.h"

#include <array>

namespace octavo {
namespace {

struct DtypeRow {
  std::string_view name;
  int bits;
};

constexpr std::array<DtypeRow, kFileDtypeCount> kRows = {{
    {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
    {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
    {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
    {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64},
}};

}  // namespace

std::string_view file_dtype_name(FileDtype dtype) { return kRows.at(static_cast<size_t>(dtype)).name; }

int file_dtype_bits(FileDtype dtype) { return kRows.at(static_cast<size_t>(dtype)).bits; }

std::optional<FileDtype> find_file_dtype(std::string_view name) {
  for (size_t i = 0; i < kRows.size(); ++i) {
    if (kRows[i].name == name) return static_cast<FileDtype>(i);
  }
  return std::nullopt;
}

std::optional<uint64_t> shape_elements(std::span<const uint64_t> shape) {
  uint64_t elements = 1;
  for (const uint64_t extent : shape) {
    if (__builtin_mul_overflow(elements, extent, &elements)) return std::nullopt;
  }
  return elements;
}

std::optional<uint64_t> tensor_bytes(FileDtype dtype, std::span<const uint64_t> shape) {
  const auto elements = shape_elements(shape);
  uint64_t bits = 0;
  if (!elements || __builtin_mul_overflow(*elements, static_cast<uint64_t>(file_dtype_bits(dtype)), &bits)) {
    return std::nullopt;
  }
  if (bits % 8 != 0) return std::nullopt;
  return bits / 8;
}

}  // namespace octavo
