// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/page.h"

#include <fmt/format.h>

#include <cassert>
#include <utility>
#include <vector>

#include "octavo/report/sha256.h"

namespace octavo {

/// The files of octavo/report/page/ and third_party/uplot/, by name (cmake/OctavoEmbed.cmake).
const std::vector<std::pair<std::string, std::string>>& embedded_page();

namespace {

const std::string& part(std::string_view name) {
  for (const auto& [file, text] : embedded_page())
    if (file == name) return text;
  assert(!"a file of the page");
  static const std::string none;
  return none;
}

// In the order they need each other; main.js comes last and draws.
constexpr std::string_view kScripts[] = {"core.js",      "charts.js",    "heatmap.js", "lab.js",
                                         "overview.js",  "loss.js",      "scales.js",  "ranges.js",
                                         "histogram.js", "resources.js", "sweep.js",   "main.js"};

std::string script() {
  std::string text = "'use strict';\n(() => {\n";
  for (const std::string_view name : kScripts) text += part(name);
  return text + "})();\n";
}

/// Replaces every {{name}} of the template.
std::string fill(const std::string& text, const std::vector<std::pair<std::string, std::string>>& values) {
  std::string out;
  size_t at = 0;
  for (size_t open = text.find("{{"); open != std::string::npos; open = text.find("{{", at)) {
    const size_t close = text.find("}}", open);
    const std::string_view name = std::string_view(text).substr(open + 2, close - open - 2);
    out.append(text, at, open - at);
    for (const auto& [key, value] : values)
      if (key == name) out += value;
    at = close + 2;
  }
  return out.append(text, at);
}

}  // namespace

std::string escape_markup(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else if (byte < 0x20 && c != '\t' && c != '\n' && c != '\r')
      out += "\xef\xbf\xbd";
    else
      out += c;
  }
  return out;
}

std::string escape_json_for_script(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (c == '<' || c == '>' || c == '&') {
      out += fmt::format("\\u{:04x}", static_cast<int>(c));
    } else if (json.substr(i, 2) == "\xe2\x80" && i + 2 < json.size() &&
               (json[i + 2] == '\xa8' || json[i + 2] == '\xa9')) {
      out += json[i + 2] == '\xa8' ? "\\u2028" : "\\u2029";
      i += 2;
    } else {
      out += c;
    }
  }
  return out;
}

std::string make_page(const std::string& title, const std::string& document) {
  const std::string library = part("uPlot.iife.min.js"), library_style = part("uPlot.min.css");
  const std::string own = script(), style = part("style.css");
  const std::string policy = fmt::format(
      "default-src 'none'; script-src 'sha256-{}' 'sha256-{}'; style-src 'sha256-{}' 'sha256-{}'; base-uri "
      "'none'; "
      "form-action 'none'",
      sha256_base64(library), sha256_base64(own), sha256_base64(library_style), sha256_base64(style));
  return fill(part("page.html"), {{"policy", policy},
                                  {"title", escape_markup(title)},
                                  {"library_style", library_style},
                                  {"style", style},
                                  {"document", escape_json_for_script(document)},
                                  {"library", library},
                                  {"script", own}});
}

}  // namespace octavo
