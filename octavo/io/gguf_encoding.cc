// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/gguf_encoding.h"

#include <cstring>

#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

constexpr GgufEncoding kReadable[] = {
    {0, "F32", 1, 4, FileDtype::f32},
    {1, "F16", 1, 2, FileDtype::f16},
    {30, "BF16", 1, 2, FileDtype::bf16},
    {2, "Q4_0", 32, 18},
    {3, "Q4_1", 32, 20},
    {6, "Q5_0", 32, 22},
    {7, "Q5_1", 32, 24},
    {8, "Q8_0", 32, 34},
};

struct Named {
  uint32_t number;
  std::string_view name;
};
// The rest of ggml's list, to refuse by name.
constexpr Named kOthers[] = {
    {9, "Q8_1"},   {10, "Q2_K"},    {11, "Q3_K"},   {12, "Q4_K"},    {13, "Q5_K"},  {14, "Q6_K"},
    {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"}, {20, "IQ4_NL"},
    {21, "IQ3_S"}, {22, "IQ2_S"},   {23, "IQ4_XS"}, {24, "I8"},      {25, "I16"},   {26, "I32"},
    {27, "I64"},   {28, "F64"},     {29, "IQ1_M"},  {34, "TQ1_0"},   {35, "TQ2_0"}, {39, "MXFP4"},
    {40, "NVFP4"}, {41, "Q1_0"},    {42, "Q2_0"},
};

float half_at(const std::byte* at) {
  uint16_t code;
  std::memcpy(&code, at, sizeof code);
  return decode<Format::fp16>(code);
}

/// The code of element i of a block of 32: the low halves of 16 bytes hold the first 16, the high halves the
/// rest.
int nibble(const std::byte* bytes, int i) {
  const auto byte = static_cast<uint8_t>(bytes[i % 16]);
  return i < 16 ? byte & 15 : byte >> 4;
}

int fifth_bit(const std::byte* bytes, int i) {
  uint32_t bits;
  std::memcpy(&bits, bytes, sizeof bits);
  return static_cast<int>(bits >> i & 1) << 4;
}

template <class Value>
void each_block(const GgufEncoding& encoding, const std::byte* from, uint64_t elements, float* out,
                Value value) {
  for (uint64_t block = 0; block < elements / 32; ++block, from += encoding.block_bytes, out += 32)
    value(from, out);
}

}  // namespace

const GgufEncoding* find_gguf_encoding(uint32_t number) {
  for (const GgufEncoding& encoding : kReadable)
    if (encoding.number == number) return &encoding;
  return nullptr;
}

std::string gguf_encoding_name(uint32_t number) {
  if (const GgufEncoding* encoding = find_gguf_encoding(number)) return std::string(encoding->name);
  for (const Named& other : kOthers)
    if (other.number == number) return std::string(other.name);
  return "type " + std::to_string(number);
}

std::string readable_gguf_encodings() {
  std::string list;
  for (const GgufEncoding& encoding : kReadable)
    list += (list.empty() ? "" : ", ") + std::string(encoding.name);
  return list;
}

void decode_gguf(const GgufEncoding& encoding, const std::byte* from, uint64_t elements, float* out) {
  const auto blocks = [&](auto value) { each_block(encoding, from, elements, out, value); };
  const auto each16 = [&](auto convert) {
    for (uint64_t i = 0; i < elements; ++i) {
      uint16_t code;
      std::memcpy(&code, from + 2 * i, sizeof code);
      out[i] = convert(code);
    }
  };
  switch (encoding.number) {
    case 0:
      std::memcpy(out, from, elements * sizeof(float));
      return;
    case 1:
      return each16([](uint16_t code) { return decode<Format::fp16>(code); });
    case 30:
      return each16([](uint16_t code) { return bf16_to_float(code); });
    case 2:  // scale, codes 0..15 for -8..7
      return blocks([](const std::byte* b, float* y) {
        const float scale = half_at(b);
        for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(nibble(b + 2, i) - 8) * scale;
      });
    case 3:  // scale, minimum, codes 0..15
      return blocks([](const std::byte* b, float* y) {
        const float scale = half_at(b), least = half_at(b + 2);
        for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(nibble(b + 4, i)) * scale + least;
      });
    case 6:  // scale, the fifth bits of all codes, their lower four bits; 0..31 for -16..15
      return blocks([](const std::byte* b, float* y) {
        const float scale = half_at(b);
        for (int i = 0; i < 32; ++i)
          y[i] = static_cast<float>((nibble(b + 6, i) | fifth_bit(b + 2, i)) - 16) * scale;
      });
    case 7:  // scale, minimum, fifth bits, lower four bits
      return blocks([](const std::byte* b, float* y) {
        const float scale = half_at(b), least = half_at(b + 2);
        for (int i = 0; i < 32; ++i)
          y[i] = static_cast<float>(nibble(b + 8, i) | fifth_bit(b + 4, i)) * scale + least;
      });
    case 8:  // scale, 32 signed bytes
      return blocks([](const std::byte* b, float* y) {
        const float scale = half_at(b);
        for (int i = 0; i < 32; ++i) y[i] = static_cast<float>(static_cast<int8_t>(b[2 + i])) * scale;
      });
  }
}

}  // namespace octavo
