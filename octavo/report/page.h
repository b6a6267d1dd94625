// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace octavo {

/// The page around a document of to_document() (or any other JSON of that schema): HTML that needs nothing
/// else, and whose content security policy lets only its own script and style run. `title` is text, not HTML.
std::string make_page(const std::string& title, const std::string& document);

/// Text for HTML content and attributes in quotes, and for XML: characters XML forbids become U+FFFD.
std::string escape_markup(std::string_view text);
/// JSON that can stand inside a script element: the same document, with <, >, & and U+2028, U+2029 written as
/// \uXXXX.
std::string escape_json_for_script(std::string_view json);

}  // namespace octavo
