// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/experiment.h"

#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/suggest.h"
#include "octavo/lab/axis_values.h"

namespace octavo {

const std::vector<std::pair<std::string, std::string>>&
embedded_experiments();  // generated from experiments/*.toml

namespace {

/// A TOML file being read: every complaint names file and line.
class Reader {
 public:
  explicit Reader(std::string source) : source_(std::move(source)) {}

  [[noreturn]] void fail(const toml::source_region& at, const std::string& message) const {
    fail_usage(fmt::format("{}:{}: {}", source_, at.begin.line, message));
  }
  [[noreturn]] void fail(const toml::node& at, const std::string& message) const {
    fail(at.source(), message);
  }

  /// Keys of a table in the order they were written: axes keep it.
  static std::vector<std::pair<toml::key, const toml::node*>> in_order(const toml::table& table) {
    std::vector<std::pair<toml::key, const toml::node*>> out;
    for (const auto& [key, node] : table) out.emplace_back(key, &node);
    std::stable_sort(out.begin(), out.end(), [](const auto& a, const auto& b) {
      const toml::source_position &x = a.first.source().begin, &y = b.first.source().begin;
      return x.line != y.line ? x.line < y.line : x.column < y.column;
    });
    return out;
  }

  void only(const toml::table& table, const std::vector<std::string>& known, const std::string& where) const {
    for (const auto& [key, node] : table)
      if (std::find(known.begin(), known.end(), key.str()) == known.end())
        fail(key.source(),
             fmt::format("unknown key '{}'{}{}", key.str(), where, did_you_mean(key.str(), known)));
  }

  const toml::table& table(const toml::node& node, std::string_view key) const {
    if (!node.is_table()) fail(node, fmt::format("{} must be a table", key));
    return *node.as_table();
  }
  std::string text(const toml::node& node, std::string_view key) const {
    if (!node.is_string()) fail(node, fmt::format("{} must be text", key));
    return node.as_string()->get();
  }
  int64_t whole(const toml::node& node, std::string_view key, int64_t low, int64_t high) const {
    const auto* value = node.as_integer();
    if (!value || value->get() < low || value->get() > high)
      fail(node, fmt::format("{} must be a whole number from {} to {}", key, low, high));
    return value->get();
  }

  double percent(const toml::node& node, std::string_view key) const {
    const std::optional<double> value = node.is_number() ? node.value<double>() : std::nullopt;
    if (!value || !(*value > 0)) fail(node, fmt::format("{} must be a positive number, in per cent", key));
    return *value;
  }

  /// A value as --set takes it.
  static std::string printed(const toml::node& node) {
    if (const auto* number = node.as_floating_point())
      return fmt::format("{}", number->get());  // the shortest
    std::ostringstream out;
    node.visit([&](const auto& typed) { out << typed; });
    return out.str();
  }
  /// A value as people name it.
  static std::string label(const toml::node& node) {
    return node.is_string() ? node.as_string()->get() : printed(node);
  }

  std::string source(const toml::node& node) const {
    return fmt::format("{}:{}", source_, node.source().begin.line);
  }

 private:
  std::string source_;
};

void check_run_key(const Reader& reader, const toml::key& key, const std::string& name) {
  if (const std::string why = reserved_key(name); !why.empty()) reader.fail(key.source(), why);
  if (std::find(run_keys().begin(), run_keys().end(), name) == run_keys().end())
    reader.fail(key.source(), fmt::format("'{}' is no key of a run{}", name, did_you_mean(name, run_keys())));
}

/// "2^-9" or "2^-11..2^-6" of a key of numbers, nothing elsewhere.
std::vector<AxisValue> powers_in(const Reader& reader, const std::string& key, const toml::node& node) {
  const KeyType type = key_type(key);
  if (!node.is_string() || (type != KeyType::whole && type != KeyType::number)) return {};
  const std::string text = node.as_string()->get();
  if (!text.starts_with("2^") || !reserved_key(key).empty()) return {};
  return expand_value(key, text, reader.source(node));
}

Setting make_setting(const Reader& reader, const std::string& key, const toml::node& node) {
  if (key == "preset") return {key, reader.text(node, key), reader.source(node)};
  // Of a key of numbers a text is a power of two, and anything else it says is an error elsewhere.
  if (node.is_string())
    if (const std::vector<AxisValue> powers = powers_in(reader, key, node); powers.size() == 1)
      return powers.front().settings.front();
  return {key, Reader::printed(node), reader.source(node)};
}

/// Keys of a run, dotted or in tables of their own. A key that is there already is replaced.
void read_settings(const Reader& reader, const toml::table& table, const std::string& prefix,
                   std::vector<Setting>& out) {
  for (const auto& [key, node] : Reader::in_order(table)) {
    const std::string name = prefix + std::string(key.str());
    if (node->is_table()) {
      read_settings(reader, *node->as_table(), name + ".", out);
      continue;
    }
    check_run_key(reader, key, name);
    const Setting setting = make_setting(reader, name, *node);
    const auto old = std::find_if(out.begin(), out.end(), [&](const Setting& s) { return s.key == name; });
    if (old != out.end())
      *old = setting;
    else
      out.push_back(setting);
  }
}

std::vector<AxisValue> read_value(const Reader& reader, const toml::key& axis, const toml::node& node) {
  const std::string name(axis.str());
  const toml::table* bundle = node.as_table();
  if (!bundle) {
    check_run_key(reader, axis, name);
    if (std::vector<AxisValue> powers = powers_in(reader, name, node); !powers.empty()) return powers;
    return {{Reader::label(node), {make_setting(reader, name, node)}}};
  }
  AxisValue value;
  toml::table keys = *bundle;
  const toml::node* label = keys.get("name");
  if (!label) reader.fail(node, fmt::format("a value of axis '{}' that is a table needs a name", name));
  value.label = reader.text(*label, "name");
  keys.erase("name");
  read_settings(reader, keys, "", value.settings);
  return {std::move(value)};
}

std::vector<int64_t> read_seeds(const Reader& reader, const toml::array& list) {
  std::vector<int64_t> seeds;
  for (const toml::node& node : list) seeds.push_back(reader.whole(node, "seed", 0, INT64_MAX));
  return seeds;
}

/// [matrix]: axis -> values. An axis that is there already gets the new values.
void read_matrix(const Reader& reader, const toml::table& matrix, std::vector<Axis>& axes,
                 std::vector<int64_t>& seeds) {
  for (const auto& [key, node] : Reader::in_order(matrix)) {
    const std::string name(key.str());
    const toml::array* list = node->as_array();
    std::vector<AxisValue> range = powers_in(reader, name, *node);
    if (range.empty() && (!list || list->empty()))
      reader.fail(key.source(), fmt::format("axis '{}' must be a list with at least one value{}", name,
                                            node->is_table() ? "; write keys with a dot in quotes" : ""));
    if (name == "seed" && list) {
      seeds = read_seeds(reader, *list);
      continue;
    }
    Axis axis{name, std::move(range)};
    if (list)
      for (const toml::node& item : *list)
        for (AxisValue& value : read_value(reader, key, item)) axis.values.push_back(std::move(value));
    const auto old = std::find_if(axes.begin(), axes.end(), [&](const Axis& a) { return a.name == name; });
    if (old != axes.end())
      *old = std::move(axis);
    else
      axes.push_back(std::move(axis));
  }
}

void read_interval(const Reader& reader, const toml::table& table, IntervalSpec& interval) {
  reader.only(table, {"family", "within"}, " in [interval]");
  if (const toml::node* family = table.get("family")) interval.family = reader.text(*family, "family");
  if (const toml::node* within = table.get("within")) interval.within = reader.percent(*within, "within");
  if (interval.family.empty()) reader.fail(table, "[interval] needs family, for instance \"fp8-cscale\"");
}

/// Moves the axis that is compared out of the groups and finds the baseline among its values.
void choose_rows(const Reader& reader, const toml::table& root, LabPlan& plan) {
  const toml::node *compare = root.get("compare"), *baseline = root.get("baseline");
  const std::string name = compare ? reader.text(*compare, "compare") : "recipe";
  const auto rows =
      std::find_if(plan.groups.begin(), plan.groups.end(), [&](const Axis& a) { return a.name == name; });
  if (rows == plan.groups.end())
    reader.fail(root, fmt::format("[matrix] has no axis '{}', which is to be compared", name));
  plan.rows = *rows;
  plan.groups.erase(rows);
  if (!baseline) return;
  const std::string label = Reader::label(*baseline);
  std::vector<std::string> labels;
  for (const AxisValue& value : plan.rows.values) labels.push_back(value.label);
  const auto found = std::find(labels.begin(), labels.end(), label);
  if (found == labels.end())
    reader.fail(*baseline, fmt::format("baseline '{}' is no value of axis '{}'{}", label, name,
                                       did_you_mean(label, labels)));
  plan.baseline = static_cast<size_t>(found - labels.begin());
}

/// Moves the axis of x out of the groups, that of the curves to their end.
void read_sweep(const Reader& reader, const toml::table& root, const toml::node& node, LabPlan& plan) {
  const toml::table& table = reader.table(node, "sweep");
  reader.only(table, {"x", "curves", "within"}, " in [sweep]");
  for (const char* key : {"compare", "baseline", "interval"})
    if (const toml::node* other = root.get(key))
      reader.fail(*other, fmt::format("{} belongs to comparisons; a sweep has x and curves", key));
  plan.sweep = SweepSpec{};
  plan.keep_models = false;
  if (const toml::node* within = table.get("within")) plan.sweep->within = reader.percent(*within, "within");
  const auto take = [&](const toml::node& name, const char* key) {
    const std::string wanted = reader.text(name, key);
    std::vector<std::string> known;
    for (const Axis& axis : plan.groups) known.push_back(axis.name);
    const auto place = std::find(known.begin(), known.end(), wanted);
    if (place == known.end())
      reader.fail(name, fmt::format("[matrix] has no axis '{}', which is to be {}{}", wanted, key,
                                    did_you_mean(wanted, known)));
    const auto axis = plan.groups.begin() + (place - known.begin());
    Axis found = std::move(*axis);
    plan.groups.erase(axis);
    return found;
  };
  const toml::node *x = table.get("x"), *curves = table.get("curves");
  if (!x)
    reader.fail(table, "[sweep] needs x, the axis that losses are drawn over, for instance \"optim.lr\"");
  plan.rows = take(*x, "x");
  if (!curves) return;
  plan.groups.push_back(take(*curves, "curves"));
  plan.sweep->curves = plan.groups.back().name;
}

}  // namespace

Experiment parse_experiment(const std::string& text, const std::string& source, bool quick) {
  toml::table root;
  try {
    root = toml::parse(text, source);
  } catch (const toml::parse_error& error) {
    fail_usage(
        fmt::format("{}:{}: not valid TOML: {}", source, error.source().begin.line, error.description()));
  }
  const Reader reader(source);
  reader.only(
      root,
      {"name", "description", "compare", "baseline", "data", "run", "matrix", "interval", "sweep", "quick"},
      "");
  Experiment out;
  LabPlan& plan = out.plan;
  plan.kind = "experiment";
  plan.name = std::filesystem::path(source).stem().string();
  if (const toml::node* name = root.get("name")) plan.name = reader.text(*name, "name");
  if (const toml::node* node = root.get("description")) plan.description = reader.text(*node, "description");
  if (const toml::node* data = root.get("data")) {
    const toml::table& table = reader.table(*data, "data");
    reader.only(table, {"vocab_size"}, " in [data]");
    if (const toml::node* size = table.get("vocab_size"))
      plan.vocab_size = static_cast<int32_t>(reader.whole(*size, "vocab_size", 256, 1 << 24));
  }
  if (const toml::node* run = root.get("run"))
    read_settings(reader, reader.table(*run, "run"), "", plan.settings);
  if (const toml::node* matrix = root.get("matrix"))
    read_matrix(reader, reader.table(*matrix, "matrix"), plan.groups, plan.seeds);
  if (const toml::node* node = root.get("quick")) {
    const toml::table& table = reader.table(*node, "quick");
    reader.only(table, {"run", "matrix"}, " in [quick]");
    out.has_quick = true;
    std::vector<Setting> settings;
    std::vector<Axis> axes = plan.groups;
    std::vector<int64_t> seeds = plan.seeds;
    // Read in any case: a mistake in it must not wait for --quick.
    if (const toml::node* run = table.get("run"))
      read_settings(reader, reader.table(*run, "quick.run"), "", settings);
    if (const toml::node* matrix = table.get("matrix"))
      read_matrix(reader, reader.table(*matrix, "quick.matrix"), axes, seeds);
    if (quick) {
      plan.overrides = std::move(settings);
      plan.groups = std::move(axes);
      plan.seeds = std::move(seeds);
    }
  }
  if (quick && !out.has_quick)
    fail_usage(fmt::format("{}: --quick needs a table [quick], there is none", source));
  if (const toml::node* interval = root.get("interval"))
    read_interval(reader, reader.table(*interval, "interval"), plan.interval);
  if (const toml::node* sweep = root.get("sweep"))
    read_sweep(reader, root, *sweep, plan);
  else
    choose_rows(reader, root, plan);
  return out;
}

std::vector<std::string> experiment_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : embedded_experiments()) names.push_back(name);
  return names;
}

std::string experiment_text(const std::string& name) {
  for (const auto& [known, text] : embedded_experiments())
    if (known == name) return text;
  fail_usage(fmt::format("unknown experiment '{}'{}", name, did_you_mean(name, experiment_names())));
}

Experiment load_experiment(const std::string& name_or_path, bool quick) {
  if (name_or_path.ends_with(".toml")) return parse_experiment(read_file(name_or_path), name_or_path, quick);
  return parse_experiment(experiment_text(name_or_path), name_or_path + ".toml", quick);
}

}  // namespace octavo
