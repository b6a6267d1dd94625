// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <toml++/toml.h>
#include <algorithm>
#include <filesystem>
#include <sstream>

#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/base/json_parse.h"
#include "octavo/base/quote_name.h"
#include "octavo/report/run_data.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

toml::table read_toml(const std::string& path) {
  const std::string text = read_file(path);
  try {
    return toml::parse(text, path);
  } catch (const toml::parse_error& error) {
    fail_data(
        fmt::format("'{}:{}': not valid TOML ({})", path, error.source().begin.line, error.description()));
  }
}

std::string text_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* flag = node.as_boolean()) return flag->get() ? "true" : "false";
  if (const auto* whole = node.as_integer()) return fmt::format("{}", whole->get());
  if (const auto* number = node.as_floating_point()) return fmt::format("{}", number->get());
  if (const auto* list = node.as_array()) {
    std::string out;
    for (const toml::node& item : *list) out += (out.empty() ? "" : ", ") + text_of(item);
    return out;
  }
  return "";
}

void flatten(const toml::table& table, const std::string& prefix, std::map<std::string, std::string>& out) {
  for (const auto& [key, node] : table) {
    const std::string name = prefix + std::string(key.str());
    if (const toml::table* inner = node.as_table())
      flatten(*inner, name + ".", out);
    else
      out[name] = text_of(node);
  }
}

void read_recipe(const std::string& path, RunData& run) {
  const toml::table table = read_toml(path);
  run.recipe = table["name"].value_or(run.recipe);
  run.description = table["description"].value_or(std::string());
  run.paper = table["paper"].value_or(std::string());
  if (const toml::array* list = table["deviations"].as_array())
    for (const toml::node& item : *list) run.deviations.push_back(text_of(item));
}

double number(const nlohmann::json& value, const std::string& path, const std::string& key) {
  if (!value.is_number())
    fail_data(fmt::format("'{}': key {} is {}, expected a number", path, quote_name(key), value.type_name()));
  return value.get<double>();
}

void read_environment(const std::string& path, RunData& run) {
  const nlohmann::json env = parse_json(read_file(path), path);
  if (!env.is_object())
    fail_data(fmt::format("'{}': the JSON is {}, expected an object", path, env.type_name()));
  for (const auto& [key, value] : env.items()) {
    if (key == "parameters")
      run.parameters = number(value, path, key);
    else if (key == "peak_flops")
      run.peak_flops = number(value, path, key);
    else if (key == "peak_resident")
      run.peak_resident = number(value, path, key);
    else if (key == "memory" && value.is_object())
      for (const auto& [category, bytes] : value.items())
        run.memory[category] = number(bytes, path, "memory." + category);
    else if (value.is_string())
      run.env[key] = value.get<std::string>();
    else if (value.is_number())
      run.env[key] = value.dump();
  }
}

}  // namespace

RunData read_run(const std::string& path) {
  RunData run;
  run.path = path;
  while (run.path.size() > 1 && run.path.back() == '/') run.path.pop_back();
  // "." and ".." are names of nothing a reader of the page knows.
  std::error_code ignored;
  const fs::path whole = fs::weakly_canonical(run.path, ignored);
  run.name = (whole.has_filename() ? whole : fs::path(run.path)).filename().string();

  const auto in_run = [&](const char* file) { return run.path + "/" + file; };
  if (!fs::is_directory(run.path, ignored))
    fail_data(fmt::format("{} is not a directory; give run directories, as octavo train --out writes them",
                          quote_name(run.path)));
  const bool metrics = fs::exists(in_run("metrics.jsonl")), tensors = fs::exists(in_run("tensors.jsonl"));
  if (!metrics && !tensors)
    fail_data(fmt::format("{} holds no run: there is neither metrics.jsonl nor tensors.jsonl in it",
                          quote_name(run.path)));
  if (fs::exists(in_run("config.toml"))) {
    flatten(read_toml(in_run("config.toml")), "", run.config);
    run.recipe = fs::path(run.config["recipe"]).stem().string();
    // Where it lies now is the run's name; where it was written says nothing about its numbers.
    run.config.erase("out");
  }
  if (fs::exists(in_run("recipe.toml"))) read_recipe(in_run("recipe.toml"), run);
  if (fs::exists(in_run("env.json"))) read_environment(in_run("env.json"), run);
  if (metrics) read_metrics(in_run("metrics.jsonl"), run);
  if (tensors) read_tensors(in_run("tensors.jsonl"), run);
  return run;
}

}  // namespace octavo
