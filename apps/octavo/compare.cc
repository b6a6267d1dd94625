// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <utility>

#include "command.h"
#include "lab_console.h"
#include "octavo/base/error.h"
#include "train_infer.h"

namespace octavo {
namespace {

struct Options {
  std::string preset, data, out;
  TrainInferOptions train_infer;
  std::vector<std::string> recipes, settings;
  int64_t steps = 0, seeds = 3, threads = 0;
  int32_t vocab_size = 4096;
  bool json = false;
};

void run(Options& o) {
  if (!o.train_infer.model.empty()) {
    if (!o.recipes.empty() || !o.out.empty() || !o.preset.empty() || !o.settings.empty() || o.steps > 0)
      fail_usage(
          "--train-infer looks at a model as it is: it takes --recipe, --data, --sequences, --seq-len, "
          "--piece, "
          "--exact, --threads and --json");
    o.train_infer.data = o.data;
    o.train_infer.threads = o.threads;
    o.train_infer.json = o.json;
    compare_train_infer(o.train_infer);
    return;
  }
  for (const auto& [flag, given] : {std::pair{"--recipes", !o.recipes.empty()},
                                    std::pair{"--data", !o.data.empty()}, std::pair{"--out", !o.out.empty()}})
    if (!given) fail_usage(fmt::format("{} is required, unless with --train-infer", flag));
  if (o.preset.empty() && o.settings.empty())
    fail_usage(
        "say what to train: --preset NAME (octavo presets lists them), or --set model.width=... and so on");
  LabPlan plan;
  plan.name = std::filesystem::path(o.out).lexically_normal().filename().string();
  if (plan.name.empty() || plan.name == ".") plan.name = "compare";
  plan.data = o.data;
  plan.vocab_size = o.vocab_size;
  if (!o.preset.empty()) plan.settings.push_back({"preset", o.preset, "--preset"});
  // A comparison goes on from anywhere; the older of two checkpoints would only take room.
  plan.settings.push_back({"checkpoint.keep", "1", "compare"});
  for (const std::string& setting : o.settings) {
    plan.overrides.push_back(parse_setting(setting));
  }
  if (o.steps > 0) plan.overrides.push_back({"train.steps", fmt::format("{}", o.steps), "--steps"});
  if (o.threads > 0) plan.overrides.push_back({"threads", fmt::format("{}", o.threads), "--threads"});
  plan.rows.name = "recipe";
  for (const std::string& recipe : o.recipes)
    plan.rows.values.push_back({recipe, {{"recipe", recipe, "--recipes"}}});
  plan.seeds.clear();
  for (int64_t seed = 1; seed <= o.seeds; ++seed) plan.seeds.push_back(seed);
  run_lab(std::move(plan), o.out, o.json);
}

}  // namespace

void add_compare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "compare", "Train one model under several recipes and seeds, and compare; or training with serving");
  c->add_option("--recipes", o->recipes, "Recipes, the first is the baseline: bf16,fp8-amax")->delimiter(',');
  c->add_option("--data", o->data, "Data set directory, or a text or .jsonl file, which is prepared once");
  c->add_option("--out", o->out, "Directory for runs, results.json and report.html");
  c->add_option("--preset", o->preset, "Model and hyperparameters (octavo presets)");
  c->add_option("--steps", o->steps, "Optimizer steps of a run (default: the preset's)")
      ->check(CLI::PositiveNumber);
  c->add_option("--seeds", o->seeds, "Runs of each recipe, with seeds 1, 2, ...")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  c->add_option("--set", o->settings, "key=value of every run, for instance optim.lr=3e-4; may be repeated")
      ->allow_extra_args(false);
  c->add_option("--vocab-size", o->vocab_size, "Tokens of the tokenizer trained on a file of text")
      ->capture_default_str();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_flag("--json", o->json, "Print results.json instead of the table");
  TrainInferOptions& t = o->train_infer;
  c->add_option(
      "--train-infer", t.model,
      "Instead: whether this run, model or checkpoint gives the same logits in training and in serving");
  c->add_option("--recipe", t.recipe, "With --train-infer: numbers to compute in (default: the run's own)");
  c->add_option("--sequences", t.sequences, "With --train-infer: texts side by side")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  c->add_option("--seq-len", t.seq_len, "With --train-infer: tokens of a text, at most the model's context")
      ->capture_default_str()
      ->check(CLI::Range(2, 1 << 20));
  c->add_option("--piece", t.piece, "With --train-infer: tokens of a piece after the prefill")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  add_exact_flags(*c, t.exact,
                  "With --train-infer: serve in the order of training (default: as the recipe is served)");
  c->footer(
      "Finished runs are not repeated and interrupted ones go on: give the same command again.\n"
      "Examples:\n"
      "  octavo compare --recipes bf16,fp8-amax --preset gpt-mini --data book.txt --steps 600 --out "
      "labs/book\n"
      "  octavo compare --recipes bf16,fp8-amax,mine.toml --preset llama-mini --data data/book --seeds 5 \\\n"
      "    --set optim.lr=1e-3 --out labs/llama --json\n"
      "  octavo compare --train-infer runs/a\n"
      "  octavo compare --train-infer runs/a --recipe bf16 --exact --data book.txt --json");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
