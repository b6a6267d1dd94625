// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/generate.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/infer/model.h"
#include "terminal.h"

namespace octavo {
namespace {

struct Options {
  std::string model, prompt, prompt_file, recipe;
  GenerateOptions generate;
  int threads = 0;
  int64_t context = 0;
  bool json = false, greedy = false, ignore_eos = false;
  std::optional<bool> exact;
};

std::string utf8_json(const std::string& text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void run(Options& o) {
  if (o.greedy) o.generate.sampler.temperature = 0;
  validate(o.generate.sampler);
  if (o.generate.max_new_tokens < 1)
    fail_usage(fmt::format("--max-new-tokens is {}, expected at least 1", o.generate.max_new_tokens));
  if (!o.prompt_file.empty()) o.prompt = read_file(o.prompt_file);

  ThreadPool pool(o.threads);
  Limits limits;
  limits.seq = 256;  // the prompt goes in pieces of this size
  limits.cache = o.context > 0 ? o.context : int64_t{1} << 14;
  LoadedModel loaded =
      load_model(o.model, recipe_for(o.model, o.recipe), limits, true, pool, nullptr, o.exact);
  const Tokenizer& tokenizer = *loaded.tokenizer;

  // A model that was trained with a token before each text wants it; without any prompt something has to come
  // first.
  std::vector<int32_t> prompt = tokenizer.encode(o.prompt, tokenizer.adds_bos(), true);
  if (prompt.empty()) {
    const auto first = tokenizer.bos() ? tokenizer.bos() : tokenizer.eos();
    if (!first) fail_usage("this model has no begin-of-text token: give a --prompt");
    prompt.push_back(*first);
  }
  if (!o.ignore_eos) {
    for (const int64_t id : loaded.model->config().eos) o.generate.stop.push_back(static_cast<int32_t>(id));
    if (tokenizer.eos()) o.generate.stop.push_back(*tokenizer.eos());
  }

  if (!o.json) {
    fmt::print("{}", o.prompt);
    std::fflush(stdout);
  }
  TokenStream stream(tokenizer, false);
  std::string text;
  const GenerateResult result = generate(*loaded.model, prompt, o.generate, [&](int32_t id) {
    const std::string piece = stream.push(id);
    text += piece;
    if (!o.json) {
      fmt::print("{}", piece);
      std::fflush(stdout);
    }
    return !stop_requested();
  });
  text += stream.finish();
  const double rate =
      result.tokens.size() > 1 ? static_cast<double>(result.tokens.size() - 1) / result.decode_seconds : 0;
  if (o.json) {
    fmt::print(
        "{{\"prompt\": {}, \"text\": {}, \"finish\": \"{}\", \"prompt_tokens\": {}, \"new_tokens\": {}, "
        "\"ids\": [{}], \"prompt_seconds\": {:.6f}, "
        "\"tokens_per_second\": {:.2f}}}\n",
        utf8_json(o.prompt), utf8_json(text), result.finish, prompt.size(), result.tokens.size(),
        fmt::join(result.tokens, ", "), result.prompt_seconds, rate);
  } else {
    fmt::print("\n");
    message(fmt::format("{} prompt tokens in {:.0f} ms, {} new tokens at {:.1f} tok/s, ended by {}",
                        prompt.size(), result.prompt_seconds * 1e3, result.tokens.size(), rate,
                        result.finish));
  }
  if (stop_requested()) exit_status() = static_cast<int>(ExitCode::interrupted);
}

}  // namespace

void add_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand("generate", "Continue a text with a model");
  c->add_option("-m,--model", o->model, "Model directory, run directory or checkpoint")->required();
  c->add_option("-p,--prompt", o->prompt, "Text to continue");
  c->add_option("--prompt-file", o->prompt_file, "File with the text to continue");
  c->add_option("-n,--max-new-tokens", o->generate.max_new_tokens, "Most tokens to add")
      ->capture_default_str();
  c->add_option("--temperature", o->generate.sampler.temperature, "0 = always the most likely token")
      ->capture_default_str();
  c->add_option("--top-k", o->generate.sampler.top_k, "Keep the k most likely tokens, 0 = all")
      ->capture_default_str();
  c->add_option("--top-p", o->generate.sampler.top_p, "Keep the most likely tokens up to this probability")
      ->capture_default_str();
  c->add_option("--min-p", o->generate.sampler.min_p, "Drop tokens less likely than this share of the best")
      ->capture_default_str();
  c->add_option("--seed", o->generate.sampler.seed, "Seed of the draws")->capture_default_str();
  c->add_flag("--greedy", o->greedy, "Same as --temperature 0");
  c->add_flag("--ignore-eos", o->ignore_eos, "Go on after an end-of-text token");
  c->add_option("--recipe", o->recipe,
                "Numbers to compute in (default: the recipe.toml of a quantized model, else bf16)");
  add_exact_flags(*c, o->exact,
                  "Sum in the order of training, so that logits have its bits; slower (default: where every "
                  "scale of the recipe is static)");
  c->add_option("--context", o->context, "Rows of the key/value cache (default: the model's context)");
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_flag("--json", o->json, "Print one JSON object instead of streaming");
  c->footer(
      "Examples:\n  octavo generate --model runs/a --prompt 'In the beginning' --max-new-tokens 200\n"
      "  octavo generate --model runs/a --prompt 'And he said' --greedy --recipe fp8-amax --json");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
