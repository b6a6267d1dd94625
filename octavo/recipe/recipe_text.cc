// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "octavo/recipe/recipe_file.h"
#include "octavo/recipe/words.h"

namespace octavo {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string list(const std::vector<std::string>& items) {
  std::string out = "[";
  for (const std::string& item : items) out += (out.size() > 1 ? ", " : "") + quoted(item);
  return out + "]";
}

/// Collects the keys of a table; the header is written only when there is a key.
class Table {
 public:
  explicit Table(std::string header) : header_(std::move(header)) {}
  template <class E>
  void word_key(std::string_view key, const std::optional<E>& value) {
    if (value) body_ += fmt::format("{} = \"{}\"\n", key, word(*value));
  }
  template <class T>
  void plain_key(std::string_view key, const std::optional<T>& value) {
    if (value) body_ += fmt::format("{} = {}\n", key, *value);
  }
  void text_key(std::string_view key, const std::string& toml) {
    body_ += fmt::format("{} = {}\n", key, toml);
  }
  std::string text() const { return body_.empty() ? "" : fmt::format("\n[{}]\n{}", header_, body_); }

 private:
  std::string header_, body_;
};

std::string role_tables(Role role, const RoleOverride& keys) {
  Table table{std::string(role_path(role))};
  table.word_key("format", keys.format);
  if (keys.granularity) table.text_key("granularity", quoted(to_string(*keys.granularity)));
  table.word_key("rounding", keys.rounding);
  table.word_key("overflow", keys.overflow);
  Table scaling(std::string(role_path(role)) + ".scaling");
  scaling.word_key("kind", keys.kind);
  scaling.plain_key("pow2", keys.pow2);
  scaling.plain_key("margin", keys.margin);
  scaling.plain_key("exponent", keys.exponent);
  scaling.plain_key("window", keys.window);
  scaling.word_key("statistic", keys.statistic);
  scaling.plain_key("threshold", keys.threshold);
  scaling.plain_key("growth_steps", keys.growth_steps);
  scaling.word_key("reading", keys.reading);
  scaling.word_key("count", keys.count);
  scaling.word_key("amax_group", keys.amax_group);
  return table.text() + scaling.text();
}

}  // namespace

std::string to_toml(const Recipe& recipe) {
  const Recipe defaults;
  std::string out = fmt::format("name = {}\n", quoted(recipe.name));
  if (!recipe.paper.empty()) out += fmt::format("paper = {}\n", quoted(recipe.paper));
  if (!recipe.description.empty()) out += fmt::format("description = {}\n", quoted(recipe.description));
  if (!recipe.deviations.empty()) {
    out += "deviations = [\n";
    for (const std::string& deviation : recipe.deviations) out += fmt::format("  {},\n", quoted(deviation));
    out += "]\n";
  }
  if (!recipe.parameter.empty()) out += fmt::format("parameter = {}\n", quoted(recipe.parameter));
  for (int i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    out += role_tables(role, recipe.written(role));
    if (role == Role::gemm_output && recipe.accumulate != defaults.accumulate) {
      out += fmt::format("\n[gemm.accumulate]\nformat = \"{}\"\n", word(recipe.accumulate));
      if (recipe.sums != defaults.sums) out += fmt::format("sums = \"{}\"\n", word(recipe.sums));
    }
  }
  if (recipe.layers != defaults.layers) {
    out += fmt::format("\n[layers]\nkeep_high = {}\nfirst_blocks_high = {}\nlast_blocks_high = {}\n",
                       list(recipe.layers.keep_high), recipe.layers.first_blocks_high,
                       recipe.layers.last_blocks_high);
  }
  if (recipe.loss != defaults.loss) out += fmt::format("\n[loss]\nscale = \"{}\"\n", loss_word(recipe.loss));
  if (recipe.reduce != defaults.reduce) {
    out += fmt::format("\n[reduce]\nsum = \"{}\"\ngradient = \"{}\"\n", word(recipe.reduce.sum),
                       word(recipe.reduce.gradient));
  }
  return out;
}

std::string describe(const Recipe& recipe) {
  std::string out = fmt::format("{}\n", recipe.name);
  if (!recipe.description.empty()) out += fmt::format("  {}\n", recipe.description);
  if (!recipe.paper.empty()) out += fmt::format("  paper: {}\n", recipe.paper);
  if (!recipe.parameter.empty()) out += fmt::format("  NAME:VALUE sets {}\n", recipe.parameter);
  constexpr std::string_view kLine = "  {:<24}{:<10}{:<15}{:<12}{:<10}{}\n";
  out += "\n";
  out += fmt::format(kLine, "role", "format", "granularity", "rounding", "overflow", "scaling");
  for (int i = 0; i < kRoleCount; ++i) {
    const Role role = static_cast<Role>(i);
    if (is_group(role)) continue;
    const RoleSpec& spec = recipe.role(role);
    out += fmt::format(kLine, role_path(role), to_string(spec.format), to_string(spec.granularity),
                       to_string(spec.rounding), to_string(spec.overflow), to_string(spec.scaling));
    if (role == Role::gemm_output)
      out += fmt::format("  {:<24}{}{}\n", "gemm.accumulate", word(recipe.accumulate),
                         recipe.sums == SumsOf::codes ? ", sums of codes" : "");
  }
  out += fmt::format("\n  layers kept in {}: {}\n", to_string(recipe.wide()), list(recipe.layers.keep_high));
  if (recipe.layers.first_blocks_high > 0 || recipe.layers.last_blocks_high > 0)
    out += fmt::format("  and the first {} and the last {} blocks\n", recipe.layers.first_blocks_high,
                       recipe.layers.last_blocks_high);
  out += fmt::format("  loss scale: {}\n  gradients of several ranks: sum {}, mean taken {}\n",
                     loss_word(recipe.loss), word(recipe.reduce.sum), word(recipe.reduce.gradient));
  const auto section = [&](std::string_view title, const std::vector<std::string>& lines) {
    if (lines.empty()) return;
    out += fmt::format("\n  {}:\n", title);
    for (const std::string& line : lines) out += fmt::format("  - {}\n", line);
  };
  section("deviations from the paper", recipe.deviations);
  section("what this build cannot run", unsupported(recipe));
  return out;
}

}  // namespace octavo
