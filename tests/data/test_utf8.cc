// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>

#include "octavo/data/utf8.h"

namespace octavo {
namespace {

TEST(Utf8, RefusesOverlongSurrogatesAndCutOffSequences) {
  for (const char* bad : {"\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80", "\xF0\x80\x80\x80",
                          "\x80", "\xFF", "\xE2\x82", "\xC3"})
    EXPECT_EQ(utf8_length(bad, 0), 0u) << static_cast<int>(static_cast<unsigned char>(bad[0]));
  EXPECT_EQ(utf8_length("\xED\x9F\xBF", 0), 3u);
  EXPECT_EQ(utf8_length("\xF4\x8F\xBF\xBF", 0), 4u);
}

TEST(Utf8, EveryCodePointComesBack) {
  for (uint32_t code = 0; code <= 0x10FFFF; ++code) {
    if (code >= 0xD800 && code <= 0xDFFF) continue;
    std::string text;
    utf8_append(text, code);
    ASSERT_EQ(utf8_length(text, 0), text.size()) << code;
    ASSERT_EQ(utf8_decode(text, 0, text.size()), code);
    for (size_t cut = 1; cut < text.size(); ++cut)
      ASSERT_EQ(utf8_incomplete_tail(text.substr(0, cut)), cut) << code;
    ASSERT_EQ(utf8_incomplete_tail(text), 0u);
  }
}

TEST(Utf8, SplitsAroundIllFormedBytes) {
  std::string shown;
  split_ill_formed("ab\xFF\xFEzz\xE2\x82", [&](std::string_view part, bool ok) {
    shown += ok ? '+' : '-';
    shown += std::to_string(part.size());
  });
  EXPECT_EQ(shown, "+2-2+2-2");
}

TEST(Utf8, PrintableAlphabetIsABijection) {
  std::string all;
  for (int b = 0; b < 256; ++b) all += static_cast<char>(b);
  EXPECT_EQ(printable_to_bytes(bytes_to_printable(all)), all);
  EXPECT_EQ(bytes_to_printable(" a\n"),
            "\xC4\xA0"
            "a"
            "\xC4\x8A");
  EXPECT_FALSE(printable_to_bytes("a b").has_value());
}

}  // namespace
}  // namespace octavo
