// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/text_normalizer.h"

#include <utf8proc.h>

#include <cstdlib>
#include <memory>

#include "octavo/base/error.h"

namespace octavo {
namespace {

std::string unicode_form(std::string_view text, TextNormalizer::Form form) {
  using Form = TextNormalizer::Form;
  const bool composed = form == Form::nfc || form == Form::nfkc;
  const bool compatible = form == Form::nfkc || form == Form::nfkd;
  int options = UTF8PROC_STABLE | (composed ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE);
  if (compatible) options |= UTF8PROC_COMPAT;
  utf8proc_uint8_t* result = nullptr;
  const utf8proc_ssize_t size = utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                                             static_cast<utf8proc_ssize_t>(text.size()), &result,
                                             static_cast<utf8proc_option_t>(options));
  const std::unique_ptr<utf8proc_uint8_t, void (*)(void*)> owner(result, std::free);
  if (size < 0) fail_data(std::string("Unicode normalization failed: ") + utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(result), static_cast<size_t>(size)};
}

std::string replaced(std::string_view text, const Regex& pattern, const std::string& content) {
  std::string result;
  size_t done = 0, begin, end;
  while (pattern.next(text, done, begin, end)) {
    result.append(text.substr(done, begin - done)).append(content);
    done = end;
  }
  return result.append(text.substr(done));
}

}  // namespace

void TextNormalizer::add_form(Form form) { steps_.push_back({Step::Kind::form, form, "", {}}); }
void TextNormalizer::add_prepend(std::string prefix) {
  steps_.push_back({Step::Kind::prepend, Form::nfc, std::move(prefix), {}});
}
void TextNormalizer::add_replace(Regex pattern, std::string content) {
  steps_.push_back({Step::Kind::replace, Form::nfc, std::move(content), {std::move(pattern)}});
}

std::string TextNormalizer::apply(std::string_view text, bool prepend) const {
  std::string result(text);
  for (const Step& step : steps_) {
    switch (step.kind) {
      case Step::Kind::form:
        result = unicode_form(result, step.form);
        break;
      case Step::Kind::prepend:
        if (prepend && !result.empty()) result.insert(0, step.content);
        break;
      case Step::Kind::replace:
        result = replaced(result, step.pattern[0], step.content);
        break;
    }
  }
  return result;
}

}  // namespace octavo
