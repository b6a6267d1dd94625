// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "command.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/infer/model.h"
#include "octavo/io/safetensors_writer.h"

namespace octavo {
namespace {

struct Options {
  std::string model, text, file, recipe = "fp32", out;
  int threads = 0;
};

void run(const Options& o) {
  if (o.text.empty() == o.file.empty()) fail_usage("give either --text or --file");
  ThreadPool pool(o.threads);
  LoadedModel loaded = load_model(o.model, o.recipe, {1, 1, int64_t{1} << 14}, true, pool);
  Transformer& model = *loaded.model;
  const Tokenizer& tokenizer = *loaded.tokenizer;
  const std::vector<int32_t> ids =
      tokenizer.encode(o.file.empty() ? o.text : read_file(o.file), tokenizer.adds_bos());
  const int64_t count = static_cast<int64_t>(ids.size()), vocab = model.config().vocab_size;
  if (count > model.limits().cache)
    fail_data(fmt::format("the text has {} tokens, the model's context {}", count, model.limits().cache));
  std::vector<float> logits(static_cast<size_t>(count * vocab));
  for (int64_t i = 0; i < count; ++i) {
    const std::span<const float> row = model.step(1, 1, &ids[static_cast<size_t>(i)]);
    std::copy(row.begin(), row.end(), logits.begin() + i * vocab);
  }
  const std::vector<TensorToWrite> tensors{
      {"ids", FileDtype::i32, {static_cast<uint64_t>(count)}, ids.data()},
      {"logits",
       FileDtype::f32,
       {static_cast<uint64_t>(count), static_cast<uint64_t>(vocab)},
       logits.data()}};
  write_safetensors(o.out, tensors);
  fmt::print("{} tokens, {} logits each: {}\n", count, vocab, o.out);
}

}  // namespace

void add_logits(CLI::App& app) {
  auto o = std::make_shared<Options>();
  CLI::App* c = app.add_subcommand(
      "logits", "Write the logits after every token of a text, to compare with other programs");
  c->add_option("-m,--model", o->model, "Model directory, run directory or checkpoint")->required();
  c->add_option("--text", o->text, "The text");
  c->add_option("--file", o->file, "A file with the text");
  c->add_option("--out", o->out, "Safetensors file: ids [tokens], logits [tokens, vocabulary]")->required();
  c->add_option("--recipe", o->recipe, "Numbers to compute in")->capture_default_str();
  c->add_option("--threads", o->threads, "CPU threads, 0 = all")->capture_default_str();
  c->footer("Example:\n  octavo logits --model runs/a --text 'In the beginning' --out logits.safetensors");
  c->callback([o] { run(*o); });
}

}  // namespace octavo
