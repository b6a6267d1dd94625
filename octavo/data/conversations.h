// SPDX-License-Identifier: Apache-2.0
// Instructions with answers, and the templates that turn them into text.
#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "octavo/data/examples.h"

namespace octavo {

struct Turn {
  enum class Role { system, user, assistant };
  Role role = Role::user;
  std::string text;
  std::string input = {};  ///< of a user: what the instruction is about, or ""
};

/// An optional system turn, then user and assistant in turn; an assistant ends it.
struct Conversation {
  std::vector<Turn> turns;
  std::string place;  ///< "file:line"
};

/// JSON Lines or a JSON array of objects of any of these kinds:
///   {"messages": [{"role": "system" | "user" | "assistant", "content"}, ...]}
///   {"instruction", "input" (optional), "output"}                                Alpaca
///   {"instruction", "instances": [{"input", "output"}, ...]}                     Self-Instruct: one each
///   {"prompt", "completion"} and {"question", "answer"}
/// Throws bad_data naming file and line.
std::vector<Conversation> parse_conversations(std::string_view text, const std::string& source);

/// alpaca, chatml, plain; docs/data.md writes them out.
const std::vector<std::string>& template_names();

/// The text of a conversation; what the assistant says counts, and the sign that ends it. Throws usage on an
/// unknown template.
Example apply_template(const std::string& name, const Conversation& conversation);

}  // namespace octavo
