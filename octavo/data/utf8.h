// SPDX-License-Identifier: Apache-2.0
// UTF-8 as RFC 3629 has it (no surrogates, no overlong forms), and the printable alphabet of byte-level BPE.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace octavo {

/// Bytes of the well-formed sequence at text[at], 0 when there is none (invalid or cut off).
size_t utf8_length(std::string_view text, size_t at);

/// Bytes of the longest well-formed prefix of `text`.
size_t utf8_valid_prefix(std::string_view text);

/// Bytes at the end of `text` (0 to 3) that begin a sequence which more bytes could complete.
size_t utf8_incomplete_tail(std::string_view text);

/// Calls sink(piece, well_formed) for the longest stretches of `text` that are or are not well-formed, in
/// order.
template <class Sink>
void split_ill_formed(std::string_view text, const Sink& sink) {
  while (!text.empty()) {
    size_t length = utf8_valid_prefix(text);
    const bool well_formed = length > 0;
    if (!well_formed)
      while (length < text.size() && utf8_length(text, length) == 0) ++length;
    sink(text.substr(0, length), well_formed);
    text.remove_prefix(length);
  }
}

/// Code point of the well-formed sequence of `length` bytes at text[at].
uint32_t utf8_decode(std::string_view text, size_t at, size_t length);

/// Appends the UTF-8 form of a code point.
void utf8_append(std::string& out, uint32_t code_point);

/// GPT-2's table: every byte as one printable character (space is U+0120). Its code point.
uint32_t byte_to_printable(uint8_t byte);

/// Undoes byte_to_printable on a whole token; nothing when a character is not of that alphabet.
std::optional<std::string> printable_to_bytes(std::string_view token);

/// The token of bytes written in that alphabet.
std::string bytes_to_printable(std::string_view bytes);

}  // namespace octavo
