// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/json_parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_set>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/quote_name.h"

namespace octavo {
namespace {

using nlohmann::json;

constexpr int kDeepest = 128;

[[noreturn]] void fail_syntax(std::string_view text, size_t position, const std::string& source,
                              std::string_view what) {
  const std::string_view before = text.substr(0, std::min(text.size(), position == 0 ? 0 : position - 1));
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t line_start = before.rfind('\n') + 1;  // npos + 1 is 0
  fail_data(
      fmt::format("'{}': {} at line {}, column {}", source, what, line, before.size() - line_start + 1));
}

}  // namespace

json parse_json(std::string_view text, const std::string& source) {
  // The lexer would take a NUL byte as the end of the text and drop whatever follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    fail_syntax(text, nul + 1, source, "not valid JSON (a NUL byte)");
  }
  std::vector<std::unordered_set<std::string>> keys;  // of the objects that are open
  const auto watch = [&](int depth, json::parse_event_t event, json& value) {
    if (depth > kDeepest) fail_data(fmt::format("'{}': JSON nested deeper than {} levels", source, kDeepest));
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(value.get<std::string>()).second) {
      fail_data(fmt::format("'{}': key {} occurs twice in one object", source,
                            quote_name(value.get_ref<const std::string&>())));
    }
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::parse_error& error) {
    fail_syntax(text, error.byte, source, "not valid JSON in UTF-8");
  } catch (const json::exception&) {
    fail_data(fmt::format("'{}': a number in the JSON is out of range", source));
  }
}

}  // namespace octavo
