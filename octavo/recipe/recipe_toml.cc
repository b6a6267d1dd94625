// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>
#include <filesystem>

#include "octavo/base/error.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/recipe/toml_reader.h"

namespace octavo {
namespace {

/// A positive decimal number without sign or leading zero, at most 6 digits; 0 otherwise.
int32_t positive(std::string_view text) {
  int32_t value = 0;
  if (text.empty() || text.size() > 6 || text[0] < '1' || text[0] > '9') return 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() ? value : 0;
}

GranularitySpec read_granularity(const TableReader& reader, const std::string& text) {
  if (text == "tensor") return {};
  if (text == "row") return {Granularity::row, 0, 0};
  if (text == "mx:32") return {Granularity::mx, 0, 0};
  const std::string_view view = text;
  if (view.starts_with("block:")) {
    const size_t cross = view.find('x', 6);
    if (cross != std::string_view::npos) {
      const int32_t rows = positive(view.substr(6, cross - 6)), cols = positive(view.substr(cross + 1));
      if (rows > 0 && cols > 0) return {Granularity::block, rows, cols};
    }
  }
  if (view.starts_with("mx"))
    reader.fail("granularity", fmt::format("'{}' cannot be '{}': OCP MX has blocks of 32 only, \"mx:32\"",
                                           reader.key_path("granularity"), text));
  if (view.starts_with("block"))
    reader.fail("granularity",
                fmt::format("'{}' cannot be '{}': blocks are written \"block:ROWSxCOLS\", as in "
                            "\"block:128x128\"",
                            reader.key_path("granularity"), text));
  reader.fail("granularity", fmt::format("'{}' cannot be '{}'{}", reader.key_path("granularity"), text,
                                         did_you_mean(text, {"tensor", "row", "block:128x128", "mx:32"})));
}

LossSpec read_loss(const TableReader& reader, const std::string& text) {
  if (text == "none") return {};
  if (text == "dynamic") return {LossScaling::dynamic};
  if (text == "unit") return {LossScaling::unit};
  const std::string_view view = text;
  const bool jumps = view.starts_with("jump:");
  if (jumps || view.starts_with("static:")) {
    LossSpec spec{jumps ? LossScaling::jump : LossScaling::static_};
    const char* const last = text.data() + text.size();
    auto read = std::from_chars(text.data() + view.find(':') + 1, last, spec.factor);
    bool good = read.ec == std::errc() && std::isfinite(spec.factor) && spec.factor > 0;
    if (jumps && good) {
      good = read.ptr != last && *read.ptr == '@';
      if (good) read = std::from_chars(read.ptr + 1, last, spec.step);
      good = good && read.ec == std::errc() && spec.step > 0;
    }
    if (good && read.ptr == last) return spec;
    reader.fail("scale", fmt::format("'loss.scale' is '{}', but {}, as in \"{}\"", text,
                                     jumps ? "a jump is a positive factor and the steps before it"
                                           : "the factor must be a positive number",
                                     jumps ? "jump:16@500" : "static:1024"));
  }
  reader.fail("scale",
              fmt::format("'loss.scale' cannot be '{}'{}", text,
                          did_you_mean(text, {"none", "static:1024", "unit", "dynamic", "jump:16@500"})));
}

class RecipeReader {
 public:
  RecipeReader(std::string_view text, const std::string& origin, std::optional<int> value)
      : text_(text), origin_(origin), value_(value) {}

  Recipe read() {
    if (text_.size() > kLargestRecipe)
      fail_usage(fmt::format("{}: a recipe has at most {} bytes, this file has {}", origin_, kLargestRecipe,
                             text_.size()));
    toml::table root;
    try {
      root = toml::parse(text_, origin_);
    } catch (const toml::parse_error& error) {
      fail_usage(
          fmt::format("{}:{}: not valid TOML: {}", origin_, error.source().begin.line, error.description()));
    }
    TableReader top(root, origin_, "");
    recipe_.name = top.string("name").value_or(std::filesystem::path(origin_).stem().string());
    recipe_.paper = top.string("paper").value_or("");
    recipe_.description = top.string("description").value_or("");
    recipe_.deviations = top.strings("deviations").value_or(std::vector<std::string>());
    if (recipe_.name.empty()) top.fail("name", "'name' must not be empty");
    recipe_.parameter = top.string("parameter").value_or("");
    apply_parameter(top, root);
    read_sections(top);
    // TOML nests tables, so the roles below "gemm" are read while its own table is.
    for (const std::string_view name : {"gemm", "attention", "store", "comm"})
      if (auto table = top.table(name)) read_role(*table, *find_role(name));
    top.finish();
    for (const RecipeProblem& problem : check_recipe(recipe_)) {
      const int line = problem.role ? line_of(*problem.role) : 0;
      fail_usage(line > 0 ? fmt::format("{}:{}: {}", origin_, line, problem.message)
                          : fmt::format("{}: {}", origin_, problem.message));
    }
    return recipe_;
  }

 private:
  void apply_parameter(TableReader& top, toml::table& root) {
    if (recipe_.parameter.empty()) {
      if (value_)
        fail_usage(
            fmt::format("{}: the recipe takes no value, but ':{}' follows its name", origin_, *value_));
      return;
    }
    auto* key = root.at_path(recipe_.parameter).as_integer();
    if (!key)
      top.fail("parameter", fmt::format("'parameter' must name an integer key of this file, but is '{}'",
                                        recipe_.parameter));
    if (!value_) return;
    key->get() = *value_;
    recipe_.name += fmt::format(":{}", *value_);
  }

  void read_sections(TableReader& top) {
    if (auto layers = top.table("layers")) {
      if (auto globs = layers->strings("keep_high")) recipe_.layers.keep_high = *globs;
      for (const std::string& glob : recipe_.layers.keep_high)
        if (glob.empty()) layers->fail("keep_high", "'layers.keep_high' holds an empty pattern");
      const auto blocks = [&](std::string_view key) {
        const int n = layers->integer(key).value_or(0);
        if (n < 0) layers->fail(key, fmt::format("'layers.{}' must not be negative, but is {}", key, n));
        return n;
      };
      recipe_.layers.first_blocks_high = blocks("first_blocks_high");
      recipe_.layers.last_blocks_high = blocks("last_blocks_high");
      layers->finish();
    }
    if (auto loss = top.table("loss")) {
      if (const auto scale = loss->string("scale")) recipe_.loss = read_loss(*loss, *scale);
      loss->finish();
    }
    if (auto reduce = top.table("reduce")) {
      recipe_.reduce.sum = reduce->word<ReduceSum>("sum").value_or(ReduceSum::fp32);
      recipe_.reduce.gradient = reduce->word<GradientDivision>("gradient").value_or(GradientDivision::post);
      reduce->finish();
    }
  }

  void read_role(TableReader& table, Role role) {
    RoleOverride keys;
    keys.format = table.word<Format>("format");
    if (role == Role::gemm_output) {
      // What a GEMM writes is one rounding of its sum: the other keys have no meaning there.
      if (keys.format && bytes(*keys.format) == 1)
        table.fail("format", fmt::format("'gemm.output.format' must be bf16, fp16 or fp32, but is '{}'",
                                         to_string(*keys.format)));
    } else {
      if (const auto text = table.string("granularity")) keys.granularity = read_granularity(table, *text);
      keys.rounding = table.word<Rounding>("rounding");
      keys.overflow = table.word<Overflow>("overflow");
      if (auto scaling = table.table("scaling")) read_scaling(*scaling, keys);
    }
    recipe_.write(role, keys);
    lines_[static_cast<size_t>(role)] = table.line();

    const std::string prefix = std::string(role_path(role)) + ".";
    for (int i = 0; i < kRoleCount; ++i) {
      const std::string_view path = role_path(static_cast<Role>(i));
      if (!path.starts_with(prefix) || path.find('.', prefix.size()) != std::string_view::npos) continue;
      if (auto child = table.table(path.substr(prefix.size()))) read_role(*child, static_cast<Role>(i));
    }
    if (role == Role::gemm) {
      if (auto accumulate = table.table("accumulate")) {
        recipe_.accumulate = accumulate->word<Accumulate>("format").value_or(Accumulate::fp32);
        if (const auto sums = accumulate->word<SumsOf>("sums")) {
          if (recipe_.accumulate != Accumulate::fp16)
            accumulate->fail("sums", "'gemm.accumulate.sums' is for fp16: other sums do not overflow");
          recipe_.sums = *sums;
        }
        accumulate->finish();
      }
    }
    table.finish();
  }

  static void read_scaling(TableReader& table, RoleOverride& keys) {
    keys.kind = table.word<ScalingKind>("kind");
    keys.pow2 = table.boolean("pow2");
    keys.margin = table.integer("margin");
    keys.exponent = table.integer("exponent");
    keys.window = table.integer("window");
    keys.statistic = table.word<Statistic>("statistic");
    keys.threshold = table.number("threshold");
    keys.growth_steps = table.integer("growth_steps");
    keys.reading = table.word<Reading>("reading");
    keys.count = table.word<Counting>("count");
    keys.amax_group = table.word<AmaxGroup>("amax_group");
    table.finish();
  }

  /// Of the strongest table a role is resolved from.
  int line_of(Role role) const {
    int line = 0;
    for (const Role from : role_chain(role)) {
      const bool says_something = !(recipe_.written(from) == RoleOverride{});
      if (says_something && lines_[static_cast<size_t>(from)] > 0) line = lines_[static_cast<size_t>(from)];
    }
    return line;
  }

  std::string_view text_;
  const std::string& origin_;
  std::optional<int> value_;
  Recipe recipe_;
  std::array<int, kRoleCount> lines_{};
};

}  // namespace

Recipe parse_recipe(std::string_view text, const std::string& origin, std::optional<int> value) {
  return RecipeReader(text, origin, value).read();
}

}  // namespace octavo
