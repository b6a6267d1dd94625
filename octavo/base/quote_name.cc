// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/quote_name.h"

namespace octavo {

std::string quote_name(std::string_view text) {
  constexpr size_t kLongest = 120;
  size_t length = text.size();
  if (length > kLongest) {
    length = kLongest;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;
  }
  std::string result = "'";
  for (const char c : text.substr(0, length)) {
    const auto byte = static_cast<unsigned char>(c);
    result += byte < 0x20 || byte == 0x7F ? '?' : c;
  }
  result += length < text.size() ? "...'" : "'";
  return result;
}

}  // namespace octavo
