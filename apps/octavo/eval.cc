// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <memory>

#include "command.h"
#include "eval.h"
#include "eval_record.h"
#include "octavo/base/error.h"
#include "octavo/data/corpus.h"
#include "octavo/data/dataset.h"
#include "octavo/infer/model.h"
#include "octavo/io/hf_model.h"
#include "octavo/train/evaluation.h"
#include "octavo/train/training_data.h"

namespace octavo {
namespace fs = std::filesystem;
namespace {

/// Text is tokenized on the spot and goes through the same shards as everything else, in a directory that is
/// removed again.
class TemporaryShard {
 public:
  TemporaryShard(const std::string& text_file, const std::string& field, const Tokenizer& tokenizer) {
    std::string pattern = (fs::temp_directory_path() / "octavo-eval-XXXXXX").string();
    if (!mkdtemp(pattern.data())) fail_errno("cannot create", pattern);
    directory_ = pattern;
    std::vector<int32_t> tokens;
    const CorpusFile file = read_documents(text_file, field, [&](std::string_view document) {
      if (tokenizer.adds_bos() && tokenizer.bos()) tokens.push_back(*tokenizer.bos());
      tokenizer.encode_to(document, false, tokens);
      if (tokenizer.eos()) tokens.push_back(*tokenizer.eos());
    });
    ShardHeader header;
    header.vocab_size = tokenizer.vocab_size();
    header.text_bytes = file.text_bytes;
    write_shard(path(), header, tokens);
  }
  ~TemporaryShard() {
    std::error_code ignored;
    fs::remove_all(directory_, ignored);
  }
  TemporaryShard(const TemporaryShard&) = delete;
  TemporaryShard& operator=(const TemporaryShard&) = delete;
  std::string path() const { return directory_ + "/text.octok"; }

 private:
  std::string directory_;
};

bool is_tokens(const std::string& path) {
  const std::string extension = fs::path(path).extension().string();
  return extension == ".octok" || extension == ".bin" || fs::exists(path + "/dataset.json");
}

void evaluate_data(const EvalOptions& o, ThreadPool& pool, EvalJson& j) {
  const ModelConfig config = read_hf_config(model_directory(o.model));
  Limits limits;
  limits.batch = o.windows_a_pass();
  limits.seq = o.seq_len > 0 ? o.seq_len : std::min<int64_t>(config.context, 1024);
  if (limits.seq > config.context)
    fail_usage(fmt::format("--seq-len {} is more than the model's context {}", limits.seq, config.context));
  EvalRecorder recorder(o.record, o.recipe);
  LoadedModel loaded = load_model(o.model, o.recipe, limits, !is_tokens(o.data), pool, recorder.weights());
  std::unique_ptr<TemporaryShard> text;
  if (!is_tokens(o.data)) text = std::make_unique<TemporaryShard>(o.data, o.field, *loaded.tokenizer);
  const std::unique_ptr<TokenSource> tokens = open_evaluation_data(text ? text->path() : o.data);
  tokens->require_vocabulary(config.vocab_size);
  const SampleLoader samples(*tokens, limits.seq, 0, false);
  ProgressLine progress("eval", "sequences");
  recorder.begin(*loaded.model);
  const LossSum sum =
      evaluate_loss(*loaded.model, samples, limits.batch, o.batches, recorder.counting(watched(progress)));
  progress.finish();
  recorder.finish();
  const double loss = sum.loss / static_cast<double>(sum.tokens);
  // Of examples only a part is scored, so its bytes are unknown.
  const double bytes_per_token =
      tokens->text_bytes() > 0 && !tokens->marked()
          ? static_cast<double>(tokens->text_bytes()) / static_cast<double>(tokens->size())
          : 0;
  j["loss"] = loss;
  j["perplexity"] = std::exp(loss);
  j["tokens"] = sum.tokens;
  if (bytes_per_token > 0) j["bits_per_byte"] = loss / std::log(2.0) / bytes_per_token;
  if (o.json) return;
  fmt::print("loss           {:.4f}\nperplexity     {:.3f}\n", loss, std::exp(loss));
  if (bytes_per_token > 0) fmt::print("bits per byte  {:.4f}\n", loss / std::log(2.0) / bytes_per_token);
  fmt::print("tokens         {}\n", sum.tokens);
}

void run(EvalOptions o) {
  if (o.data.empty() && o.text.empty() && o.tasks.empty())
    fail_usage("nothing to evaluate on: give --data, --text or --tasks");
  ThreadPool pool(o.threads);
  EvalJson j;
  o.recipe_b = recipe_for(o.model_b.empty() ? o.model : o.model_b, o.recipe);
  o.recipe = recipe_for(o.model, o.recipe);
  if (!o.compare.empty() || !o.model_b.empty()) {
    if (!o.record.empty()) fail_usage("--record is for one model in one recipe, not for a comparison");
    evaluate_pair(o, pool, j);
  } else {
    j["model"] = o.model;
    j["recipe"] = o.recipe;
    // --record is for what runs first.
    if (!o.data.empty()) {
      evaluate_data(o, pool, j);
      o.record.clear();
    }
    if (!o.tasks.empty()) {
      evaluate_tasks(o, pool, j);
      o.record.clear();
    }
    if (!o.text.empty()) evaluate_text(o, pool, j);
  }
  if (o.json) fmt::print("{}\n", j.dump());
}

}  // namespace

std::function<void(int64_t, int64_t)> watched(ProgressLine& progress) {
  return [&progress](int64_t done, int64_t total) {
    progress.update(done, total);
    if (stop_requested()) throw Error(ExitCode::interrupted, "stopped before the evaluation was complete");
  };
}

void add_eval(CLI::App& app) {
  auto o = std::make_shared<EvalOptions>();
  CLI::App* c = app.add_subcommand("eval", "Loss and perplexity of a model, zero-shot tasks, comparisons");
  c->add_option("-m,--model", o->model, "Model directory, run directory or checkpoint")->required();
  c->add_option("--recipe", o->recipe,
                "Numbers to compute in (default: the recipe.toml of a quantized model, else bf16)");
  c->add_option(
      "--data", o->data,
      "Data set directory (its validation split), token shard, text or .jsonl file: loss and perplexity");
  c->add_option("--text", o->text, "Text file: perplexity of its tokens, words and bytes by sliding windows");
  c->add_option(
       "--tasks", o->tasks,
       "Comma-separated: hellaswag, arc_easy, arc_challenge, piqa, lambada_openai, blimp, mmlu, sst2")
      ->delimiter(',');
  c->add_option("--task-data", o->task_data, "Folder with a folder of files for each task");
  c->add_option("--limit", o->limit, "Items of each task (of each subject and paradigm), 0 = all")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  c->add_option("--shots", o->shots, "mmlu: solved questions before each question, 0 to 5")
      ->capture_default_str();
  c->add_option("--log-items", o->log_items, "File for one JSON line an item: prompt and log-likelihoods");
  c->add_option(
      "--record", o->record,
      "Directory for the scales, underflow and SNR of every tensor in the first passes, for octavo report");
  c->add_option("--compare", o->compare, "Two recipes, a and b, to compare on --tasks and --text")
      ->expected(2);
  c->add_option("--model-b", o->model_b, "Another model for b (default: --model)");
  c->add_option("--resamples", o->resamples, "Resamples of the bootstrap behind intervals")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  c->add_option("--seed", o->seed, "Of the resamples")->capture_default_str();
  c->add_option("--seq-len", o->seq_len, "Tokens a window (default: the model's context, at most 1024)")
      ->check(CLI::NonNegativeNumber);
  c->add_option("--stride", o->stride,
                "--text: tokens from window to window (default: --seq-len, no overlap)")
      ->check(CLI::NonNegativeNumber);
  c->add_option("--micro-batch,--batch", o->batch, "Sequences at a time (default: 8, with --tasks 16)")
      ->check(CLI::Range(1, 4096));
  c->add_option("--batches", o->batches, "--data: stop after this many, 0 = all")->capture_default_str();
  c->add_option("--field", o->field, "Field of JSON Lines that holds the text")->capture_default_str();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->add_flag("--json", o->json, "Print one JSON object");
  c->footer(
      "Examples:\n  octavo eval --model runs/a --data data/book\n"
      "  octavo eval --model runs/a --data other.txt --recipe fp8-amax --json\n"
      "  octavo eval --model runs/a --text wiki.test.raw --stride 512\n"
      "  octavo eval --model runs/a --tasks hellaswag,piqa --task-data tasks --limit 200\n"
      "  octavo eval --model runs/a --text wiki.test.raw --recipe fp8-amax --record scales; octavo report "
      "scales\n"
      "  octavo eval --model runs/a --compare bf16 fp8-amax --tasks hellaswag --task-data tasks --text "
      "wiki.test.raw");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
