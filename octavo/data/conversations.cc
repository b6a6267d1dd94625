// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/conversations.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"
#include "octavo/data/json_reading.h"

namespace octavo {
namespace {

using Role = Turn::Role;
using Kind = Piece::Kind;

// visit(element, line) for the elements of a JSON array that is known to be well-formed.
void each_element(std::string_view array, const std::function<void(std::string_view, int64_t)>& visit) {
  int64_t line = 1, begun_at = 0;
  int depth = 0;
  bool quoted = false;
  size_t begin = 0;
  for (size_t i = 0; i < array.size(); ++i) {
    const char c = array[i];
    if (c == '\n') ++line;
    if (quoted) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        quoted = false;
      continue;
    }
    const bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    const bool ends = depth == 1 && (c == ',' || c == ']');
    if (ends && begun_at > 0) {
      visit(array.substr(begin, i - begin), begun_at);
      begun_at = 0;
    } else if (depth == 1 && !ends && !blank && begun_at == 0) {
      begun_at = line;
      begin = i;
    }
    quoted = c == '"';
    depth += c == '[' || c == '{';
    depth -= c == ']' || c == '}';
  }
}

void each_line(std::string_view text, const std::function<void(std::string_view, int64_t)>& visit) {
  for (int64_t number = 1; !text.empty(); ++number) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.find_first_not_of(" \t\r") != std::string_view::npos) visit(line, number);
  }
}

std::vector<Turn> turns_of(const Json& messages, const std::string& where) {
  std::vector<Turn> turns;
  for (const Json& message : messages) {
    const std::string part = fmt::format("{} message {}", where, turns.size() + 1);
    const std::string role = need_string(message, "role", part), text = need_string(message, "content", part);
    if (role != "system" && role != "user" && role != "assistant")
      fail_data(fmt::format("{}: role must be system, user or assistant, found '{}'", part, role));
    const Role found = role == "system" ? Role::system : role == "user" ? Role::user : Role::assistant;
    const bool asked = !turns.empty() && turns.back().role == Role::user;
    if (found == Role::system ? !turns.empty() : (found == Role::assistant) != asked)
      fail_data(fmt::format("{}: after an optional system message user and assistant take turns, found '{}'",
                            part, role));
    turns.push_back({found, text});
  }
  if (turns.empty() || turns.back().role != Role::assistant)
    fail_data(fmt::format("{}: the last message must be the assistant's", where));
  return turns;
}

void add_record(const Json& record, const std::string& place, std::vector<Conversation>& out) {
  const std::string where = "'" + place + "'";
  if (!record.is_object())
    fail_data(fmt::format("{} must be a JSON object, found {}", where, record.type_name()));
  const auto pair = [&](const char* prompt, const char* answer) {
    out.push_back({{{Role::user, need_string(record, prompt, where)},
                    {Role::assistant, need_string(record, answer, where)}},
                   place});
  };
  if (record.contains("messages")) {
    out.push_back({turns_of(need(record, "messages", "array", where), where), place});
  } else if (record.contains("instruction")) {
    const std::string instruction = need_string(record, "instruction", where);
    const auto answered = [&](const Json& instance, const std::string& part) {
      out.push_back({{{Role::user, instruction, maybe_string(instance, "input", "", part)},
                      {Role::assistant, need_string(instance, "output", part)}},
                     place});
    };
    if (const Json* instances = maybe(record, "instances", "array", where))
      for (const Json& instance : *instances) answered(instance, where + " instance");
    else
      answered(record, where);
  } else if (record.contains("prompt")) {
    pair("prompt", "completion");
  } else if (record.contains("question")) {
    pair("question", "answer");
  } else {
    fail_data(fmt::format(
        "{} is no example: expected the keys messages, instruction and output, prompt and completion, or "
        "question and answer",
        where));
  }
}

Example alpaca(const Conversation& conversation) {
  Example example;
  std::string lead;
  for (const Turn& turn : conversation.turns) {
    if (turn.role == Role::system) {
      lead = turn.text;
    } else if (turn.role == Role::user) {
      const bool with_input = !turn.input.empty();
      if (example.pieces.empty() && lead.empty())
        lead = with_input ? "Below is an instruction that describes a task, paired with an input that "
                            "provides further context. Write a response that appropriately completes the "
                            "request."
                          : "Below is an instruction that describes a task. Write a response that "
                            "appropriately completes the request.";
      example.pieces.push_back({Kind::text, lead + "\n\n### Instruction:\n" + turn.text +
                                                (with_input ? "\n\n### Input:\n" + turn.input : "") +
                                                "\n\n### Response:"});
      lead.clear();
    } else {
      example.pieces.push_back({Kind::text, turn.text, true});
      example.pieces.push_back({Kind::end_of_text, "", true});
    }
  }
  return example;
}

Example chatml(const Conversation& conversation) {
  Example example;
  for (const Turn& turn : conversation.turns) {
    const bool counts = turn.role == Role::assistant;
    const char* role = turn.role == Role::system ? "system" : counts ? "assistant" : "user";
    if (!example.pieces.empty()) example.pieces.push_back({Kind::text, "\n"});
    example.pieces.push_back({Kind::marker, "<|im_start|>"});
    example.pieces.push_back({Kind::text, std::string(role) + "\n"});
    example.pieces.push_back(
        {Kind::text, turn.text + (turn.input.empty() ? "" : "\n\n" + turn.input), counts});
    example.pieces.push_back({Kind::marker, "<|im_end|>", counts});
  }
  example.pieces.push_back({Kind::end_of_text, "", true});
  return example;
}

Example plain(const Conversation& conversation) {
  Example example;
  for (const Turn& turn : conversation.turns) {
    if (turn.role != Role::assistant) {
      example.pieces.push_back(
          {Kind::text, turn.text + "\n" + (turn.input.empty() ? "" : turn.input + "\n")});
      continue;
    }
    example.pieces.push_back({Kind::text, turn.text, true});
    example.pieces.push_back({Kind::end_of_text, "", true});
  }
  return example;
}

}  // namespace

std::vector<Conversation> parse_conversations(std::string_view text, const std::string& source) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  std::vector<Conversation> all;
  const auto add = [&](std::string_view record, int64_t line) {
    const std::string place = fmt::format("{}:{}", source, line);
    add_record(parse_json(record, place), place, all);
  };
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first != std::string_view::npos && text[first] == '[') {
    parse_json(text, source);  // names line and column of a mistake; what follows presumes there is none
    each_element(text, add);
  } else {
    each_line(text, add);
  }
  if (all.empty()) fail_data(fmt::format("'{}' holds no examples", source));
  return all;
}

const std::vector<std::string>& template_names() {
  static const std::vector<std::string> names{"alpaca", "chatml", "plain"};
  return names;
}

Example apply_template(const std::string& name, const Conversation& conversation) {
  Example example;
  if (name == "alpaca")
    example = alpaca(conversation);
  else if (name == "chatml")
    example = chatml(conversation);
  else if (name == "plain")
    example = plain(conversation);
  else
    fail_usage(fmt::format("unknown template '{}'{}", name, did_you_mean(name, template_names())));
  example.place = conversation.place;
  return example;
}

}  // namespace octavo
