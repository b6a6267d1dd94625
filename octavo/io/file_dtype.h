// SPDX-License-Identifier: Apache-2.0
// The element types a safetensors file can name.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace octavo {

/// Ordered as the format orders them, by rising alignment; a file stores the last ones first.
/// f8_e4m3 is the finite one (torch.float8_e4m3fn, NaN is 0x7f and 0xff), f8_e8m0 a power-of-two scale.
enum class FileDtype : uint8_t {
  boolean,
  f4,
  f6_e2m3,
  f6_e3m2,
  u8,
  i8,
  f8_e5m2,
  f8_e4m3,
  f8_e8m0,
  f8_e4m3fnuz,
  f8_e5m2fnuz,
  i16,
  u16,
  f16,
  bf16,
  i32,
  u32,
  f32,
  c64,
  f64,
  i64,
  u64
};
inline constexpr int kFileDtypeCount = 22;

/// "F32", "F8_E4M3", ... as written in a file.
std::string_view file_dtype_name(FileDtype dtype);

/// Bits of one element: 4, 6 (then no access to the data is offered), 8, 16, 32 or 64.
int file_dtype_bits(FileDtype dtype);

/// The type with this name, nothing when there is none.
std::optional<FileDtype> find_file_dtype(std::string_view name);

/// Elements in `shape` (1 for rank 0); nothing when the product does not fit in 64 bits.
std::optional<uint64_t> shape_elements(std::span<const uint64_t> shape);

/// Bytes of a tensor; nothing when that overflows or is not a whole number of bytes.
std::optional<uint64_t> tensor_bytes(FileDtype dtype, std::span<const uint64_t> shape);

}  // namespace octavo
