// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/probe.h"

#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/rng.h"
#include "octavo/infer/model.h"
#include "octavo/io/hf_model.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/loss_scaler.h"
#include "octavo/train/training_data.h"

namespace octavo {
namespace {

struct Options {
  std::string preset, model, data, recipe = "bf16";
  std::vector<std::string> settings;
  int64_t batch = 8, seq_len = 0, seed = 1;
  int threads = 0;
  bool json = false;
};

/// Tokens drawn evenly and independently.
void draw(std::vector<int32_t>& tokens, int64_t vocab, uint64_t seed, uint64_t stream) {
  const Rng rng(seed, stream);
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int32_t>(rng.integer(i) % static_cast<uint64_t>(vocab));
}

void run(const Options& o) {
  if (o.preset.empty() == o.model.empty()) fail_usage("give either --preset or --model");
  if (!o.model.empty() && !o.settings.empty())
    fail_usage("--set changes a preset; the shape of a --model is what it is");
  ThreadPool pool(o.threads);
  const std::unique_ptr<TokenSource> source = o.data.empty() ? nullptr : open_evaluation_data(o.data);
  ModelConfig config;
  if (o.model.empty()) {
    RunConfig run = load_preset(o.preset);
    for (const std::string& setting : o.settings) apply_setting(run, setting);
    constexpr int64_t kVocabulary = 4096;  // of a preset that leaves it to the data, when there are none
    config = model_config(run, source && source->vocab_size() > 0 ? source->vocab_size() : kVocabulary);
  } else {
    config = read_hf_config(model_directory(o.model));
  }
  const int64_t seq = o.seq_len > 0 ? o.seq_len : config.context;
  Transformer model(config, load_recipe(o.recipe), Purpose::training, pool);
  Limits limits;
  limits.batch = o.batch;
  limits.seq = seq;
  model.allocate(limits);
  if (o.model.empty())
    model.initialize(static_cast<uint64_t>(o.seed));
  else
    load_hf_weights(model_directory(o.model), model);

  const int64_t rows = o.batch * seq;
  std::vector<int32_t> tokens(static_cast<size_t>(rows)), targets(tokens.size()), positions(tokens.size());
  for (int64_t r = 0; r < rows; ++r) positions[static_cast<size_t>(r)] = static_cast<int32_t>(r % seq);
  if (source) {
    source->require_vocabulary(config.vocab_size);
    SampleLoader(*source, seq, 0, false).batch(0, o.batch, tokens.data(), targets.data());
  } else {
    draw(tokens, config.vocab_size, static_cast<uint64_t>(o.seed), 1);
    draw(targets, config.vocab_size, static_cast<uint64_t>(o.seed), 2);
  }
  const LossScaler scaler({LossScaling::unit, 1}, rows, config.width);
  const ProbeResult found = probe_model(model, {o.batch, seq, tokens.data(), positions.data()},
                                        targets.data(), scaler.scale(LossScaleState{}));
  fmt::print("{}", o.json ? to_json(found) + "\n" : to_text(found));
}

}  // namespace

void add_probe(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "probe", "One training pass, and what its values look like: variance, tails, attention by position");
  c->add_option("--preset", o->preset, "A model as it begins (octavo presets)");
  c->add_option("--set", o->settings,
                "key=value over the preset, for instance model.width=64; may be repeated")
      ->allow_extra_args(false);
  c->add_option("-m,--model", o->model, "A trained one: model directory, run directory or checkpoint");
  c->add_option(
      "--data", o->data,
      "Data set directory or token shard, its first windows; without it tokens are drawn at random");
  c->add_option("--recipe", o->recipe, "Numbers to compute in")->capture_default_str();
  c->add_option("--batch", o->batch, "Sequences")->capture_default_str()->check(CLI::Range(1, 4096));
  c->add_option("--seq-len", o->seq_len, "Tokens a sequence, 0 = the model's context")->capture_default_str();
  c->add_option("--seed", o->seed, "Of initial weights and random tokens")->capture_default_str();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_flag("--json", o->json, "Print one JSON object (docs/cli.md)");
  c->footer(
      "Gradients (.dout, of the stream a block ends with) are of the mean loss times the power of two "
      "nearest to\n"
      "tokens x width, the loss multiplier of recipe munit.\n"
      "Examples:\n"
      "  octavo probe --preset munit-mini\n"
      "  octavo probe --preset munit-mini --set model.width=1024 --set model.heads=16 --recipe munit\n"
      "  octavo probe --model runs/a --data data/book --json");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
