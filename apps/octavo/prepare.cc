// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/prepare.h"

#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/data/prepare_examples.h"
#include "terminal.h"

namespace octavo {
namespace {

struct Options {
  PrepareOptions prepare;
  std::string format = "octavo";
  std::vector<std::string> conversations, labelled;
  std::string template_name = "alpaca", text_column = "sentence", label_column = "label";
  Verbalization verbalization;
  CLI::App* command = nullptr;
};

void print_dataset(const Dataset& d) {
  fmt::print("data set      {}\nvocabulary    {} tokens\n", d.directory, d.vocab_size);
  const auto line = [](const char* name, const DatasetSplit& s) {
    const std::string what =
        s.counted >= 0
            ? fmt::format("{} of them targets, {} examples", s.counted, s.documents)
            : fmt::format("{:.2f} bytes each, {} documents",
                          s.tokens ? static_cast<double>(s.text_bytes) / static_cast<double>(s.tokens) : 0.0,
                          s.documents);
    fmt::print("{:<13} {} tokens, {}\n", name, s.tokens, what);
  };
  line("train", d.train);
  line("validation", d.val);
}

void run_examples(const Options& o) {
  for (const char* flag : {"--vocab-size", "--field", "--parse-special", "--format"})
    if (o.command->count(flag) > 0) fail_usage(fmt::format("{} is for --input, not for examples", flag));
  if (o.labelled.empty())
    for (const char* flag : {"--prompt", "--verbalizer", "--text-column", "--label-column"})
      if (o.command->count(flag) > 0) fail_usage(fmt::format("{} needs --classification", flag));
  if (o.conversations.empty() && o.command->count("--template") > 0) fail_usage("--template needs --sft");
  PrepareExamplesOptions p;
  p.inputs = o.labelled.empty() ? o.conversations : o.labelled;
  p.template_name = o.template_name;
  if (!o.labelled.empty()) p.verbalizing = o.verbalization;
  p.text_column = o.text_column;
  p.label_column = o.label_column;
  p.tokenizer = o.prepare.tokenizer;
  p.out = o.prepare.out;
  p.val_fraction = o.prepare.val_fraction;
  p.shard_tokens = o.prepare.shard_tokens;
  ProgressLine progress("tokenize", "examples");
  p.progress = [&](const char*, int64_t done, int64_t total) { progress.update(done, total); };
  const Dataset dataset = prepare_examples(p);
  progress.finish();
  print_dataset(dataset);
}

void run(Options& o) {
  const int kinds = !o.prepare.inputs.empty() + !o.conversations.empty() + !o.labelled.empty();
  if (kinds != 1) fail_usage("say what to prepare with one of --input, --sft and --classification");
  if (o.prepare.inputs.empty()) {
    run_examples(o);
    return;
  }
  o.prepare.format = shard_format(o.format);
  std::unique_ptr<ProgressLine> progress;
  std::string stage;
  o.prepare.progress = [&](const char* name, int64_t done, int64_t total) {
    if (stage != name) {
      if (progress) progress->finish();
      stage = name;
      progress = std::make_unique<ProgressLine>(stage, stage == "train tokenizer" ? "tokens" : "bytes");
    }
    progress->update(done, total);
  };
  const PrepareResult result = prepare(o.prepare);
  if (progress) progress->finish();
  const Dataset& d = result.dataset;
  if (result.invalid_bytes > 0)
    message(fmt::format("note: {} bytes of the input are not valid UTF-8; they were kept as they are",
                        result.invalid_bytes));
  if (result.fewer_tokens)
    message(fmt::format("note: the text has no more frequent pairs, so the vocabulary has {} tokens",
                        d.vocab_size));
  print_dataset(d);
}

}  // namespace

void add_prepare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c =
      app.add_subcommand("prepare", "Turn text, instructions or labelled sentences into token shards");
  o->command = c;
  c->add_option("--input", o->prepare.inputs, "Text or .jsonl files, directories, globs");
  c->add_option("--sft", o->conversations,
                "Instructions with answers to fine-tune on: .json or .jsonl files (Alpaca, chat messages)");
  c->add_option("--template", o->template_name, "--sft: how they become text: alpaca, chatml or plain")
      ->capture_default_str();
  c->add_option("--classification", o->labelled, "Labelled sentences to fine-tune on: .tsv files");
  c->add_option("--prompt", o->verbalization.prompt, "--classification: text before the verbalizer")
      ->capture_default_str();
  c->add_option("--verbalizer", o->verbalization.verbalizers,
                "--classification: what stands for label 0, 1, ...; repeat it for each, space included")
      ->allow_extra_args(false)
      ->capture_default_str();
  c->add_option("--text-column", o->text_column, "--classification: column of the text")
      ->capture_default_str();
  c->add_option("--label-column", o->label_column, "--classification: column of the label, 0, 1, ...")
      ->capture_default_str();
  c->add_option("--out", o->prepare.out, "Directory for shards, tokenizer and dataset.json")->required();
  c->add_option(
      "--tokenizer", o->prepare.tokenizer,
      "Use this tokenizer (file or directory) instead of training one; --sft and --classification need "
      "that of the model");
  c->add_option("--vocab-size", o->prepare.vocab_size, "Tokens of the trained byte-level BPE")
      ->capture_default_str();
  c->add_option("--val-fraction", o->prepare.val_fraction,
                "Share of the text or examples, at the end, kept for validation")
      ->capture_default_str();
  c->add_option("--field", o->prepare.field, "Field of JSON Lines that holds the text")
      ->capture_default_str();
  c->add_option("--format", o->format, "Shard format: octavo, llmc or nanogpt")->capture_default_str();
  c->add_option("--shard-tokens", o->prepare.shard_tokens, "Tokens a shard")->capture_default_str();
  c->add_flag("--parse-special", o->prepare.parse_special,
              "Special tokens written out in the text become tokens");
  c->footer(
      "Examples:\n  octavo prepare --input book.txt --out data/book\n"
      "  octavo prepare --input 'corpus/*.jsonl' --tokenizer gpt2-dir --out data/web --format llmc\n"
      "  octavo prepare --sft alpaca.json --tokenizer MODEL --out data/alpaca\n"
      "  octavo prepare --classification train.tsv --tokenizer MODEL --out data/sst2");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
