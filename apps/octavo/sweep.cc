// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/sweep.h"

#include <fmt/format.h>

#include <filesystem>
#include <memory>

#include "command.h"
#include "lab_console.h"
#include "octavo/base/error.h"

namespace octavo {
namespace {

struct Options {
  std::string data, out, preset, recipe, x, curves;
  std::vector<std::string> panels, settings;
  std::vector<int64_t> seeds{1};
  int64_t steps = 0, threads = 0;
  int32_t vocab_size = 4096;
  bool json = false, keep_models = false;
};

void run(const Options& o) {
  LabPlan plan;
  plan.name = std::filesystem::path(o.out).lexically_normal().filename().string();
  if (plan.name.empty() || plan.name == ".") plan.name = "sweep";
  plan.data = o.data;
  plan.vocab_size = o.vocab_size;
  plan.seeds = o.seeds;
  if (!o.preset.empty()) plan.settings.push_back({"preset", o.preset, "--preset"});
  // Of hundreds of runs the losses are wanted; what is inside a tensor can be asked for with --set.
  plan.settings.push_back({"checkpoint.keep", "1", "sweep"});
  plan.settings.push_back({"log.tensors_every", "0", "sweep"});
  for (const std::string& setting : o.settings) plan.overrides.push_back(parse_setting(setting));
  if (!o.recipe.empty()) plan.overrides.push_back({"recipe", o.recipe, "--recipe"});
  if (o.steps > 0) plan.overrides.push_back({"train.steps", fmt::format("{}", o.steps), "--steps"});
  if (o.threads > 0) plan.overrides.push_back({"threads", fmt::format("{}", o.threads), "--threads"});
  set_sweep(plan, o.x, o.curves, o.panels);
  plan.keep_models = o.keep_models;
  run_lab(std::move(plan), o.out, o.json);
}

}  // namespace

void add_sweep(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c =
      app.add_subcommand("sweep", "Train a grid of runs: loss against one key, a curve per value of another");
  c->add_option("data,--data", o->data,
                "Data set directory, or a text or .jsonl file, which is prepared once")
      ->required();
  c->add_option("-o,--out", o->out, "Directory for runs, results.jsonl, results.json and report.html")
      ->required();
  c->add_option("--x", o->x,
                "KEY=VALUES the losses are drawn over. VALUES: 1e-3,2e-3 or 2^-9 or 2^-11..2^-6; "
                "KEY=VALUES;KEY=VALUES moves keys together")
      ->required();
  c->add_option("--curves", o->curves, "KEY=VALUES, a curve for each");
  c->add_option("--panels", o->panels, "KEY=VALUES, a plot for each; may be repeated")
      ->allow_extra_args(false);
  c->add_option("--preset", o->preset, "Model and hyperparameters (octavo presets)");
  c->add_option("--recipe", o->recipe, "Recipe of every run (octavo recipes)");
  c->add_option("--steps", o->steps, "Optimizer steps of a run (default: the preset's)")
      ->check(CLI::PositiveNumber);
  c->add_option("--seeds", o->seeds, "The seeds themselves: 1,2,3")
      ->capture_default_str()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::NonNegativeNumber);
  c->add_option("--set", o->settings,
                "key=value of every run, for instance model.head_dim=32; may be repeated")
      ->allow_extra_args(false);
  c->add_option("--vocab-size", o->vocab_size, "Tokens of the tokenizer trained on a file of text")
      ->capture_default_str();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_flag("--keep-models", o->keep_models, "Keep final/ of every run");
  c->add_flag("--json", o->json, "Print results.json instead of the table");
  c->footer(
      "Any key of a run (docs/run-config.md) can be swept, 'recipe' and 'preset' too. Finished runs are not\n"
      "repeated and interrupted ones go on: give the same command again, with more values if you like.\n"
      "Examples:\n"
      "  octavo sweep book.txt --preset gpt-mini --x optim.lr=2^-11..2^-6 --curves model.width=64,128,256 "
      "\\\n"
      "    --set model.head_dim=32 --seeds 1,2 --steps 300 -o sweeps/lr\n"
      "  octavo sweep data/book --preset gpt-mini --x optim.lr=2^-10..2^-7 --panels recipe=bf16,fp8-amax \\\n"
      "    --curves \"model.width=64,128;model.heads=2,4\" -o sweeps/recipes\n"
      "  octavo sweep data/book --preset gpt-mini --x optim.weight_decay=0,0.03,0.1,0.3 -o sweeps/decay");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
