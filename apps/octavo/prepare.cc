// SPDX-License-Identifier: Apache-2.0
#include "octavo/data/prepare.h"

#include <fmt/format.h>

#include <memory>

#include "command.h"
#include "terminal.h"

namespace octavo {
namespace {

struct Options {
  PrepareOptions prepare;
  std::string format = "octavo";
  bool vocab_given = false;
};

void run(Options& o) {
  o.prepare.format = shard_format(o.format);
  std::unique_ptr<Progress> progress;
  std::string stage;
  o.prepare.progress = [&](const char* name, int64_t done, int64_t total) {
    if (stage != name) {
      if (progress) progress->finish();
      stage = name;
      progress = std::make_unique<Progress>(stage, stage == "train tokenizer" ? "tokens" : "bytes");
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
  fmt::print("data set      {}\nvocabulary    {} tokens\n", d.directory, d.vocab_size);
  const auto line = [](const char* name, const DatasetSplit& s) {
    fmt::print("{:<13} {} tokens, {:.2f} bytes each, {} documents\n", name, s.tokens,
               s.tokens ? static_cast<double>(s.text_bytes) / static_cast<double>(s.tokens) : 0.0,
               s.documents);
  };
  line("train", d.train);
  line("validation", d.val);
}

}  // namespace

void add_prepare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "prepare", "Turn text or JSON Lines into token shards; trains a tokenizer unless one is given");
  c->add_option("--input", o->prepare.inputs, "Text or .jsonl files, directories, globs")->required();
  c->add_option("--out", o->prepare.out, "Directory for shards, tokenizer and dataset.json")->required();
  c->add_option("--tokenizer", o->prepare.tokenizer,
                "Use this tokenizer (file or directory) instead of training one");
  c->add_option("--vocab-size", o->prepare.vocab_size, "Tokens of the trained byte-level BPE")
      ->capture_default_str();
  c->add_option("--val-fraction", o->prepare.val_fraction,
                "Share of the text, at its end, kept for validation")
      ->capture_default_str();
  c->add_option("--field", o->prepare.field, "Field of JSON Lines that holds the text")
      ->capture_default_str();
  c->add_option("--format", o->format, "Shard format: octavo, llmc or nanogpt")->capture_default_str();
  c->add_option("--shard-tokens", o->prepare.shard_tokens, "Tokens a shard")->capture_default_str();
  c->add_flag("--parse-special", o->prepare.parse_special,
              "Special tokens written out in the text become tokens");
  c->footer(
      "Examples:\n  octavo prepare --input book.txt --out data/book\n"
      "  octavo prepare --input 'corpus/*.jsonl' --tokenizer gpt2-dir --out data/web --format llmc");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
