// SPDX-License-Identifier: Apache-2.0
// How GGUF stores the elements of a tensor: plain, or in blocks of 32 with shared FP16 scales.
// Source: ggml's ggml.h (the numbers) and ggml-common.h (the blocks).
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "octavo/io/file_dtype.h"

namespace octavo {

struct GgufEncoding {
  uint32_t number = 0;  ///< ggml's
  std::string_view name;
  uint32_t block_elements = 0;  ///< elements that stand together; a row is a whole number of blocks
  uint32_t block_bytes = 0;
  /// The type of plain elements; nothing for blocks, which are read as f32.
  std::optional<FileDtype> plain = std::nullopt;
};

/// nullptr when tensors of this number cannot be read; gguf_encoding_name() says what it is.
const GgufEncoding* find_gguf_encoding(uint32_t number);

/// "Q4_K" and so on, known or readable; "type 99" for a number without a name.
std::string gguf_encoding_name(uint32_t number);

/// "F32, F16, ..."
std::string readable_gguf_encodings();

/// value = code * scale (+ minimum) in FP32, as ggml defines it: products of a code and an FP16 scale are
/// exact, so only the sum with a minimum rounds. `elements` is a multiple of block_elements.
void decode_gguf(const GgufEncoding& encoding, const std::byte* from, uint64_t elements, float* out);

}  // namespace octavo
