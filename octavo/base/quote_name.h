// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace octavo {

/// `text` in single quotes, fit for one line of an error message: control bytes become '?', and a name longer
/// than 120 bytes is cut (at a UTF-8 boundary) and ends with "...". For names that come out of files.
std::string quote_name(std::string_view text);

}  // namespace octavo
