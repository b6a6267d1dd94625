// SPDX-License-Identifier: Apache-2.0
// Whole jobs on random tokens: one training step, one decoded token.
#include <fmt/format.h>

#include <cmath>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "bench.h"
#include "octavo/base/error.h"
#include "octavo/base/process.h"
#include "octavo/base/rng.h"
#include "octavo/base/stopwatch.h"
#include "octavo/kernels/peak.h"
#include "octavo/nn/transformer.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/optimizer.h"
#include "octavo/train/run_config.h"

namespace octavo {
namespace {

struct ModelOptions : BenchOptions {
  std::string preset = "gpt2-124m", recipes = "fp8-amax,bf16";
  int64_t micro_batch = 4, grad_accum = 1, seq_len = 1024, tokens = 64, prompt = 64;
  bool pack_weights = false, exact = false;
  std::vector<std::string> recompute{"auto"};
};

std::vector<int32_t> random_tokens(int64_t count, int64_t vocab) {
  const Rng rng(3);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i)
    tokens[i] = static_cast<int32_t>(rng.integer(i) % static_cast<uint64_t>(vocab));
  return tokens;
}

ModelConfig bench_config(const ModelOptions& o) { return model_config(load_preset(o.preset), 4096); }

void bench_step(const ModelOptions& o) {
  ThreadPool pool(o.threads);
  const ModelConfig config = bench_config(o);
  const RunConfig::Optim optim = load_preset(o.preset).optim;
  for (const std::string& name : split_list(o.recipes)) {
    const Recipe recipe = load_recipe(name);
    Transformer model(config, recipe, Purpose::training, pool);
    RunConfig config_of_memory;
    config_of_memory.train.recompute = o.recompute;
    model.allocate({o.micro_batch, o.seq_len, 0, kept_state(config_of_memory, recipe), o.pack_weights});
    model.initialize(1);
    const Optimizer optimizer(optim);
    const int64_t rows = o.micro_batch * o.seq_len;
    const std::vector<int32_t> tokens = random_tokens(rows + 1, config.vocab_size);
    std::vector<int32_t> positions(static_cast<size_t>(rows));
    for (size_t r = 0; r < positions.size(); ++r)
      positions[r] = static_cast<int32_t>(r % static_cast<size_t>(o.seq_len));
    const Batch batch{o.micro_batch, o.seq_len, tokens.data(), positions.data()};

    StepTimes times;
    int64_t steps = 0;
    const auto step = [&] {
      model.pass().run(Part::optimizer, [&](ThreadPool& team) { model.parameters().zero_gradients(team); });
      for (int64_t micro = 0; micro < o.grad_accum; ++micro) {
        model.pass().last_of_step = micro + 1 == o.grad_accum;
        model.train(batch, tokens.data() + 1, 1.0f / static_cast<float>(rows * o.grad_accum));
      }
      optimizer.step(model, ++steps, 1e-4, std::sqrt(optimizer.gradient_squares(model)));
      model.refresh_weights();
    };
    UnitPeak peak(gemm_choice(typical_gemm(config, recipe, rows)).variant, pool);
    const double flops =
        static_cast<double>(o.grad_accum) * training_flops(config, o.micro_batch, o.seq_len).total();
    const BenchTiming time = bench_against(
        o.reps, flops, [&] { return peak.now(); }, step, [&] { model.pass().times = {}; });
    times = model.pass().times;
    nlohmann::ordered_json j{{"bench", "step"},
                             {"preset", o.preset},
                             {"recipe", name},
                             {"tokens", rows * o.grad_accum},
                             {"micro_batch", o.micro_batch},
                             {"grad_accum", o.grad_accum},
                             {"seq_len", o.seq_len},
                             {"threads", pool.size()},
                             {"tok_s", static_cast<double>(rows * o.grad_accum) / time.median},
                             {"sol", time.ratio},
                             {"gflops", flops / time.median / 1e9},
                             {"peak_gflops", time.limit / 1e9},
                             {"median_ms", time.median * 1e3},
                             {"spread", time.spread},
                             {"peak_rss_bytes", static_cast<int64_t>(peak_resident_bytes())}};
    double activations = 0;
    for (const auto& [category, bytes] : model.memory().categories()) {
      j["memory"][category] = bytes;
      if (category == "activations") activations = static_cast<double>(bytes);
    }
    std::string parts;
    double accounted = 0;
    const double total = time.total;
    for (int i = 0; i < kParts; ++i) {
      const Part part = static_cast<Part>(i);
      const double share = part == Part::other ? 1 - accounted : times[part] / total;
      accounted += share;
      j["breakdown"][to_string(part)] = share;
      parts += fmt::format(" {} {:.1f} %", to_string(part), 100 * share);
    }
    bench_emit(
        o, j,
        fmt::format("step {} {:<10} {:7.0f} tok/s, {:4.1f} % of light ({:.0f} GFLOP/s), activations "
                    "{:.0f} MiB, {:.0f} ms ±{:.0f} %\n    {}",
                    o.preset, name, static_cast<double>(rows * o.grad_accum) / time.median, 100 * time.ratio,
                    time.limit / 1e9, activations / (1 << 20), time.median * 1e3, 50 * time.spread, parts));
  }
}

void bench_decode(const ModelOptions& o) {
  ThreadPool pool(o.threads);
  const ModelConfig config = bench_config(o);
  for (const std::string& name : split_list(o.recipes)) {
    Transformer model(config, load_recipe(name), Purpose::inference, pool);
    const int64_t room = std::min(config.context, o.prompt + o.tokens + 1);
    model.allocate({1, std::min<int64_t>(o.prompt, room - 1), room, {}, o.pack_weights, o.exact});
    model.initialize_for_inference(1);
    const std::vector<int32_t> prompt = random_tokens(o.prompt, config.vocab_size);
    DramMeter dram(pool);
    Stopwatch watch;
    std::vector<double> prompts;
    for (int rep = 0; rep <= o.reps; ++rep) {
      model.reset_cache();
      watch.restart();
      model.step(1, o.prompt, prompt.data());
      if (rep > 0) prompts.push_back(watch.seconds());
    }
    std::sort(prompts.begin(), prompts.end());
    const double first = prompts[prompts.size() / 2], bytes = static_cast<double>(model.weight_bytes());
    const BenchTiming time = bench_against(
        o.reps, bytes * static_cast<double>(o.tokens), [&] { return dram.now(); },
        [&] {
          model.reset_cache(o.prompt);
          for (int64_t i = 0; i < o.tokens; ++i) model.step(1, 1, prompt.data());
        });
    const double per_token = time.median / static_cast<double>(o.tokens);
    nlohmann::ordered_json j{{"bench", "decode"},
                             {"preset", o.preset},
                             {"recipe", name},
                             {"threads", pool.size()},
                             {"prompt", o.prompt},
                             {"exact", o.exact},
                             {"pack_weights", o.pack_weights},
                             {"prompt_tok_s", static_cast<double>(o.prompt) / first},
                             {"tok_s", 1 / per_token},
                             {"weight_bytes", model.weight_bytes()},
                             {"gbytes", bytes / per_token / 1e9},
                             {"dram_gbytes", time.limit / 1e9},
                             {"ratio_to_dram", time.ratio},
                             {"median_ms", per_token * 1e3},
                             {"spread", time.spread}};
    bench_emit(
        o, j,
        fmt::format("decode {} {:<10} {:7.1f} tok/s, weights read at {:.1f} GB/s = {:.0f} % of a plain DRAM "
                    "read ({:.1f}); prompt {:.0f} tok/s",
                    o.preset, name, 1 / per_token, bytes / per_token / 1e9, 100 * time.ratio,
                    time.limit / 1e9, static_cast<double>(o.prompt) / first));
  }
}

}  // namespace

void add_bench_model(CLI::App& bench) {
  auto s = std::make_shared<ModelOptions>();
  s->reps = 5;
  CLI::App* step = bench.add_subcommand(
      "step", "A training step on random tokens: speed of light, memory, where the time goes");
  step->add_option("--preset", s->preset, "Model (octavo presets)")->capture_default_str();
  step->add_option("--recipes", s->recipes, "Recipes, comma-separated")->capture_default_str();
  step->add_option("--micro-batch", s->micro_batch, "Sequences")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 16));
  step->add_option("--seq-len", s->seq_len, "Tokens a sequence")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  step->add_option("--grad-accum", s->grad_accum, "Micro-batches a step")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 16));
  step->add_flag("--pack-weights", s->pack_weights, "Keep weights packed for all micro-batches of a step");
  step->add_option("--recompute", s->recompute,
                   "auto, none, norm, activation, block: made again in the backward pass");
  add_bench_options(step, *s);
  step->footer(
      "Example:\n  octavo bench step --preset gpt2-124m --recipes fp8-amax,bf16 --micro-batch 4 --seq-len "
      "1024 --json");
  step->callback([s] { bench_step(*s); });

  auto d = std::make_shared<ModelOptions>();
  d->reps = 5;
  CLI::App* decode =
      bench.add_subcommand("decode", "Generation with the key/value cache, against the memory's speed");
  decode->add_option("--preset", d->preset, "Model (octavo presets)")->capture_default_str();
  decode->add_option("--recipes", d->recipes, "Recipes, comma-separated")->capture_default_str();
  decode->add_option("--prompt", d->prompt, "Tokens of the prompt")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  decode->add_option("--tokens", d->tokens, "Tokens decoded")
      ->capture_default_str()
      ->check(CLI::Range(1, 1 << 20));
  decode->add_flag("--exact", d->exact, "Sum in the order of the training forward pass: its bits");
  decode->add_flag("--pack-weights", d->pack_weights, "Keep weights packed (read with --exact only)");
  add_bench_options(decode, *d);
  decode->callback([d] { bench_decode(*d); });
}

}  // namespace octavo
