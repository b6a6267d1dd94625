// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/utf8.h"

#include <array>
#include <cstring>

namespace octavo {
namespace {

bool is_continuation(uint8_t byte) { return (byte & 0xC0) == 0x80; }

// Range the second byte must be in; it alone rules out overlong forms, surrogates and what lies beyond
// U+10FFFF.
bool second_byte_fits(uint8_t first, uint8_t second) {
  switch (first) {
    case 0xE0:
      return second >= 0xA0 && second <= 0xBF;
    case 0xED:
      return second >= 0x80 && second <= 0x9F;
    case 0xF0:
      return second >= 0x90 && second <= 0xBF;
    case 0xF4:
      return second >= 0x80 && second <= 0x8F;
    default:
      return is_continuation(second);
  }
}

size_t announced_length(uint8_t first) {
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return 2;
  if (first >= 0xE0 && first <= 0xEF) return 3;
  if (first >= 0xF0 && first <= 0xF4) return 4;
  return 0;
}

struct PrintableTable {
  std::array<uint32_t, 256> of_byte{};
  std::array<int, 0x180> of_char{};
  PrintableTable() {
    of_char.fill(-1);
    uint32_t next = 256;
    for (uint32_t b = 0; b < 256; ++b) {
      const bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
      of_byte[b] = printable ? b : next++;
      of_char[of_byte[b]] = static_cast<int>(b);
    }
  }
};

const PrintableTable& table() {
  static const PrintableTable instance;
  return instance;
}

}  // namespace

size_t utf8_length(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const size_t length = announced_length(byte(at));
  if (length <= 1) return length;
  if (at + length > text.size() || !second_byte_fits(byte(at), byte(at + 1))) return 0;
  for (size_t i = 2; i < length; ++i)
    if (!is_continuation(byte(at + i))) return 0;
  return length;
}

size_t utf8_valid_prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    uint64_t word;
    if (at + 8 <= text.size() && (std::memcpy(&word, text.data() + at, 8), !(word & 0x8080808080808080u))) {
      at += 8;
      continue;
    }
    const size_t length = utf8_length(text, at);
    if (length == 0) break;
    at += length;
  }
  return at;
}

size_t utf8_incomplete_tail(std::string_view text) {
  for (size_t tail = 1; tail <= 3 && tail <= text.size(); ++tail) {
    const size_t at = text.size() - tail;
    const uint8_t first = static_cast<uint8_t>(text[at]);
    if (is_continuation(first)) continue;
    if (announced_length(first) <= tail) return 0;
    if (tail >= 2 && !second_byte_fits(first, static_cast<uint8_t>(text[at + 1]))) return 0;
    return tail;
  }
  return 0;
}

uint32_t utf8_decode(std::string_view text, size_t at, size_t length) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(text[at + i])); };
  if (length == 1) return byte(0);
  uint32_t code = byte(0) & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) code = code << 6 | (byte(i) & 0x3F);
  return code;
}

void utf8_append(std::string& out, uint32_t c) {
  const auto tail = [&](int shift) { out += static_cast<char>(0x80 | (c >> shift & 0x3F)); };
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    tail(6), tail(0);
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    tail(12), tail(6), tail(0);
  }
}

uint32_t byte_to_printable(uint8_t byte) { return table().of_byte[byte]; }

std::optional<std::string> printable_to_bytes(std::string_view token) {
  std::string bytes;
  for (size_t at = 0; at < token.size();) {
    const size_t length = utf8_length(token, at);
    if (length == 0) return std::nullopt;
    const uint32_t code = utf8_decode(token, at, length);
    if (code >= table().of_char.size() || table().of_char[code] < 0) return std::nullopt;
    bytes += static_cast<char>(table().of_char[code]);
    at += length;
  }
  return bytes;
}

std::string bytes_to_printable(std::string_view bytes) {
  std::string token;
  for (const char c : bytes) utf8_append(token, byte_to_printable(static_cast<uint8_t>(c)));
  return token;
}

}  // namespace octavo
