// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4) for the page's content security policy. Not for secrets.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace octavo {

std::array<uint8_t, 32> sha256(std::string_view text);
/// Base64 of it with padding, as in script-src 'sha256-...'.
std::string sha256_base64(std::string_view text);

}  // namespace octavo
