// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/infer/model.h"
#include "octavo/io/hf_model.h"
#include "octavo/lab/rank_gradients.h"
#include "octavo/lab/reduction.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/training_data.h"
#include "terminal.h"

namespace octavo {
namespace {

struct Options {
  std::string model, data, recipe = "fp8-lm-o2", out;
  ReductionPlan plan;
  int64_t batch = 2, seq_len = 0, batches = 2, seed = 1;
  int threads = 0;
  bool json = false;
};

void run(const Options& o) {
  ThreadPool pool(o.threads);
  const std::string path = model_directory(o.model);
  const Recipe recipe = load_recipe(o.recipe);
  // Operands in the recipe's numbers, gradients as they are before they become codes.
  Recipe wide = recipe;
  RoleOverride fp32;
  fp32.format = Format::fp32;
  wide.write(Role::store_weight_grad, fp32);
  wide.write(Role::comm_weight_grad, fp32);
  Transformer model(read_hf_config(path), wide, Purpose::training, pool);
  const int64_t seq = o.seq_len > 0 ? o.seq_len : model.config().context;
  Limits limits;
  limits.batch = o.batch;
  limits.seq = seq;
  model.allocate(limits);
  load_hf_weights(path, model);
  const std::unique_ptr<TokenSource> source = open_evaluation_data(o.data);
  source->require_vocabulary(model.config().vocab_size);
  const SampleLoader samples(*source, seq, static_cast<uint64_t>(o.seed), true);

  const int most = *std::max_element(o.plan.ranks.begin(), o.plan.ranks.end());
  const auto progress = [](const std::string& text) { status(text); };
  const std::vector<LayerGradients> layers =
      rank_gradients(model, recipe, samples, o.batch, most, o.batches, progress);
  ReductionResult result;
  result.model = o.model;
  result.data = o.data;
  result.recipe = recipe.name;
  result.batch = o.batch;
  result.seq_len = seq;
  reduce_layers(layers, o.plan, pool, result, progress);
  if (!o.out.empty()) {
    std::filesystem::create_directories(o.out);
    write_file_atomic(o.out + "/results.json", to_json(result) + "\n");
    write_file_atomic(o.out + "/report.html", reduction_page(result));
    for (const auto& [name, svg] : plot_reduction(result)) write_file_atomic(o.out + "/" + name, svg);
  }
  fmt::print("{}", o.json ? to_json(result) + "\n" : to_text(result));
}

}  // namespace

void add_reduce(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "reduce", "What sums of FP8 gradients over ranks lose, by scaling and by where they are rounded");
  c->add_option("-m,--model", o->model, "Model directory, run directory or checkpoint")->required();
  c->add_option("--data", o->data, "Data set directory or token shard; every rank has windows of its own")
      ->required();
  c->add_option("--recipe", o->recipe, "Numbers to compute and send in")->capture_default_str();
  c->add_option("--ranks", o->plan.ranks, "Numbers of data-parallel ranks")
      ->capture_default_str()
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::Range(2, 1024));
  c->add_option("--batch", o->batch, "Sequences of a rank")
      ->capture_default_str()
      ->check(CLI::Range(1, 4096));
  c->add_option("--seq-len", o->seq_len, "Tokens a sequence, 0 = the model's context")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 20));
  c->add_option("--batches", o->batches,
                "Distinct steps of the largest number of ranks; smaller ones have up to 8")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  c->add_option("--steps", o->plan.steps,
                "Steps automatic scaling takes over these; the second half is reported")
      ->capture_default_str()
      ->check(CLI::Range(2, 10000000));
  c->add_option("--seed", o->seed, "Of the order of the windows")->capture_default_str();
  c->add_option("-o,--out", o->out,
                "Directory for report.html, snr.svg, underflow.svg, sent.svg, overflow.svg, results.json");
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_flag("--json", o->json, "Print one JSON object (docs/cli.md)");
  c->footer(
      "Gradients of all ranks are kept: 4 bytes x weights x ranks x batches.\n"
      "Example:\n"
      "  octavo reduce --model runs/a --data data/book --ranks 4,8,32 --out reduce");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
