// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/experiment.h"

#include <fmt/format.h>

#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "lab_console.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

struct Options {
  std::string experiment, data, out;
  std::vector<std::string> settings;
  int64_t threads = 0;
  bool quick = false, json = false, keep_models = false;
};

void run(const Options& o) {
  LabPlan plan = load_experiment(o.experiment, o.quick).plan;
  plan.data = o.data;
  if (o.keep_models) plan.keep_models = true;
  for (const std::string& setting : o.settings) plan.overrides.push_back(parse_setting(setting));
  if (o.threads > 0) plan.overrides.push_back({"threads", fmt::format("{}", o.threads), "--threads"});
  const std::string out = !o.out.empty() ? o.out : "labs/" + file_word(plan.name) + (o.quick ? "-quick" : "");
  run_lab(std::move(plan), out, o.json);
}

size_t runs_of(const LabPlan& plan) {
  return group_points(plan).size() * plan.rows.values.size() * plan.seeds.size();
}

void list(bool json) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const std::string& name : experiment_names()) {
    const Experiment e = load_experiment(name, false);
    const size_t runs = runs_of(e.plan), quick = e.has_quick ? runs_of(load_experiment(name, true).plan) : 0;
    all.push_back(
        {{"name", name}, {"description", e.plan.description}, {"runs", runs}, {"quick_runs", quick}});
    if (!json)
      fmt::print("{:<20} {}\n{:<20} {} runs{}\n", name, e.plan.description, "", runs,
                 quick > 0 ? fmt::format(", {} with --quick", quick) : "");
  }
  if (json) fmt::print("{}\n", all.dump());
}

}  // namespace

void add_experiment(CLI::App& app) {
  CLI::App* c = app.add_subcommand("experiment", "Stored comparisons: list, show, run");
  c->require_subcommand(1);
  const char* examples =
      "Examples:\n"
      "  octavo experiment list\n"
      "  octavo experiment run fp8-amax-widths --data build/demo/kjv.txt --quick\n"
      "  octavo experiment run experiments/cscale-interval.toml --data build/demo/data --out labs/cscale";
  c->footer(examples);  // and of the commands below
  auto o = std::make_shared<Options>();
  CLI::App* run_it = c->add_subcommand("run", "Train what an experiment asks for, and compare");
  run_it->add_option("experiment", o->experiment, "Name (octavo experiment list) or .toml file")->required();
  run_it
      ->add_option("--data", o->data, "Data set directory, or a text or .jsonl file, which is prepared once")
      ->required();
  run_it->add_option("--out", o->out,
                     "Directory for runs, results.json and report.html (default: labs/NAME)");
  run_it->add_flag("--quick", o->quick, "Fewer steps and seeds, as its table [quick] says");
  run_it
      ->add_option("--set", o->settings,
                   "key=value of every run, over what the experiment says; may be repeated")
      ->allow_extra_args(false);
  run_it->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  run_it->add_flag("--keep-models", o->keep_models, "Keep final/ of the runs of a sweep, as of all others");
  run_it->add_flag("--json", o->json, "Print results.json instead of the table");
  run_it->footer(
      std::string(
          "Finished runs are not repeated and interrupted ones go on: give the same command again.\n") +
      examples);
  run_it->callback([o] { run(*o); });

  CLI::App* list_them = c->add_subcommand("list", "The experiments built in");
  list_them->add_flag("--json", o->json, "Print one JSON array");
  list_them->callback([o] { list(o->json); });

  CLI::App* show = c->add_subcommand("show", "Print an experiment as TOML, to be changed");
  show->add_option("experiment", o->experiment, "Name")->required();
  show->callback([o] { fmt::print("{}", experiment_text(o->experiment)); });
}

}  // namespace octavo
