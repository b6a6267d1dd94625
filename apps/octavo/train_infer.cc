// SPDX-License-Identifier: Apache-2.0
// One model for training and for serving, on the same text: are the logits the same?
#include "train_infer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/infer/model.h"
#include "octavo/infer/serving_check.h"
#include "octavo/io/hf_model.h"
#include "octavo/io/weight_source.h"
#include "octavo/kernels/loss.h"
#include "octavo/recipe/recipe_file.h"
#include "octavo/train/training_data.h"
#include "terminal.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// The run that a path belongs to: itself, or where its final/ or checkpoints/ lie. "" without one.
std::string run_of(const std::string& path) {
  fs::path at = fs::absolute(path).lexically_normal();
  if (!at.has_filename()) at = at.parent_path();
  for (int up = 0; up < 3; ++up, at = at.parent_path())
    if (fs::exists(at / "config.toml") && fs::exists(at / "recipe.toml")) return up == 0 ? path : at.string();
  return "";
}

/// The first `sequences` samples.
ServedText samples_of(const SampleLoader& samples, const TrainInferOptions& o, int64_t seq) {
  const int64_t there = static_cast<int64_t>(samples.samples_per_epoch());
  ServedText text{std::min(o.sequences, there), seq, {}, {}};
  text.tokens.resize(static_cast<size_t>(text.batch * seq));
  text.targets.resize(text.tokens.size());
  samples.batch(0, text.batch, text.tokens.data(), text.targets.data());
  for (int32_t& target : text.targets)
    if (target < 0) target = kIgnoreTarget;
  return text;
}

ServedText text_of_file(const std::string& path, const Tokenizer& tokenizer, const TrainInferOptions& o,
                        int64_t seq) {
  const std::vector<int32_t> ids = tokenizer.encode(read_file(path), tokenizer.adds_bos());
  const int64_t there = (static_cast<int64_t>(ids.size()) - 1) / seq;
  if (there < 1)
    fail_data(fmt::format("{} has {} tokens, expected at least {}: take a smaller --seq-len", path,
                          ids.size(), seq + 1));
  ServedText text{std::min(o.sequences, there), seq, {}, {}};
  const auto rows = ids.begin() + text.batch * seq;
  text.tokens.assign(ids.begin(), rows);
  text.targets.assign(ids.begin() + 1, rows + 1);
  return text;
}

ServedText load_text(const TrainInferOptions& o, const std::string& run, const ModelConfig& config,
                     int64_t seq, std::string& source) {
  if (o.data.empty()) {
    if (run.empty())
      fail_usage(fmt::format("'{}' belongs to no run: say with --data on which text", o.model));
    RunConfig run_config;
    const std::string path = run + "/config.toml";
    apply_toml(run_config, read_file(path), path);
    TrainingData data(run_config);
    data.open(seq, 0, config.vocab_size);
    if (!data.has_validation())
      fail_usage(fmt::format("run '{}' has no validation data: say with --data on which text", run));
    source = "the validation data of the run";
    return samples_of(data.validation(), o, seq);
  }
  source = o.data;
  const std::string extension = fs::path(o.data).extension().string();
  if (extension == ".octok" || extension == ".bin" || fs::is_directory(o.data)) {
    const std::unique_ptr<TokenSource> tokens = open_evaluation_data(o.data);
    tokens->require_vocabulary(config.vocab_size);
    return samples_of(SampleLoader(*tokens, seq, 0, false), o, seq);
  }
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(model_directory(o.model));
  if (tokenizer->vocab_size() > config.vocab_size)
    fail_data(fmt::format("{}: the tokenizer has {} tokens, the model {}: they do not belong together",
                          o.model, tokenizer->vocab_size(), config.vocab_size));
  return text_of_file(o.data, *tokenizer, o, seq);
}

/// Logits of the training forward pass. The model with its optimizer's memory is gone when serving begins.
std::vector<float> trained_logits(const std::string& path, const ModelConfig& config, const Recipe& recipe,
                                  const ServedText& text, ThreadPool& pool) {
  Transformer model(config, recipe, Purpose::training, pool);
  const WeightSource weights(path, config, model.parameters());
  model.allocate({text.batch, text.seq});
  load_hf_weights(weights, model);
  return logits_at_once(model, text);
}

struct Way {
  std::string key, name;
  ServingDifference difference;
};

void print(const std::vector<Way>& ways) {
  fmt::print("{:<42} {:<10} {:>13} {:>12} {:>12} {:>12} {:>12}\n", "served", "bits", "other rows",
             "max |dlogit|", "max |dlog p|", "mean KL", "other argmax");
  for (const Way& way : ways) {
    const ServingDifference& d = way.difference;
    const double share = 100 * static_cast<double>(d.other_top) / static_cast<double>(d.rows);
    fmt::print("{:<42} {:<10} {:>13} {:>12.3g} {:>12.3g} {:>12.3g} {:>10.3g} %\n", way.name,
               d.identical() ? "identical" : "differ", fmt::format("{} of {}", d.other_rows, d.rows), d.logit,
               d.log_prob, d.kl, share);
  }
}

nlohmann::ordered_json to_json(const std::vector<Way>& ways) {
  nlohmann::ordered_json all;
  for (const Way& way : ways) {
    const ServingDifference& d = way.difference;
    all[way.key] = {{"identical", d.identical()},
                    {"rows", d.rows},
                    {"other_rows", d.other_rows},
                    {"max_logit_difference", d.logit},
                    {"max_log_prob_difference", d.log_prob},
                    {"mean_kl", d.kl},
                    {"other_argmax", static_cast<double>(d.other_top) / static_cast<double>(d.rows)}};
  }
  return all;
}

}  // namespace

void compare_train_infer(const TrainInferOptions& o) {
  const std::string path = model_directory(o.model), run = run_of(o.model);
  const std::string numbers =
      o.recipe.empty() && !run.empty() ? run + "/recipe.toml" : recipe_for(o.model, o.recipe);
  const Recipe recipe = load_recipe(numbers);
  const ModelConfig config = read_hf_config(path);
  const int64_t seq = std::min(o.seq_len, config.context);
  std::string source;
  const ServedText text = load_text(o, run, config, seq, source);

  ThreadPool pool(static_cast<int>(o.threads));
  status("training forward pass");
  const std::vector<float> trained = trained_logits(path, config, recipe, text, pool);
  const LoadedModel loaded =
      load_model(o.model, numbers, {text.batch, seq, seq}, false, pool, nullptr, o.exact);
  Transformer& model = *loaded.model;
  std::vector<Way> ways;
  const auto serve = [&](const std::string& key, const std::string& name, const auto& logits) {
    if (stop_requested()) throw Error(ExitCode::interrupted, "stopped before the comparison was complete");
    status("served " + name);
    ways.push_back({key, name, compare_served(trained, logits(), text.targets, config.vocab_size, pool)});
  };
  const int64_t first = std::max<int64_t>(1, seq / 2);
  serve("whole", "whole, at once", [&] { return logits_at_once(model, text); });
  serve("pieces", fmt::format("prefill of {}, then pieces of {} tokens", first, o.piece),
        [&] { return logits_in_pieces(model, text, first, o.piece); });
  serve("tokens", "token by token", [&] { return logits_in_pieces(model, text, 1, 1); });
  status("");

  const bool same =
      std::all_of(ways.begin(), ways.end(), [](const Way& way) { return way.difference.identical(); });
  if (o.json) {
    const nlohmann::ordered_json j{{"schema", "octavo-train-infer-1"},
                                   {"model", o.model},
                                   {"recipe", recipe.name},
                                   {"exact", model.limits().exact},
                                   {"data", source},
                                   {"sequences", text.batch},
                                   {"seq_len", seq},
                                   {"piece", o.piece},
                                   {"identical", same},
                                   {"served", to_json(ways)}};
    fmt::print("{}\n", j.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  } else {
    fmt::print("{} in {}, served {}: {} x {} tokens of {}, against the training forward pass\n", o.model,
               recipe.name, model.limits().exact ? "exactly" : "fast (not --exact)", text.batch, seq, source);
    print(ways);
  }
  if (!same) exit_status() = static_cast<int>(ExitCode::check_failed);
}

}  // namespace octavo
