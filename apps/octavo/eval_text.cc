// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "eval.h"
#include "eval_record.h"
#include "octavo/base/error.h"
#include "octavo/base/file.h"
#include "octavo/infer/model.h"
#include "octavo/io/hf_model.h"

namespace octavo {

TextRun open_text(const EvalOptions& o, const Tokenizer& tokenizer, int64_t context) {
  TextRun run;
  run.length = o.seq_len > 0 ? o.seq_len : std::min<int64_t>(context, 1024);
  if (run.length > context)
    fail_usage(fmt::format("--seq-len {} is more than the model's context {}", run.length, context));
  run.stride = o.stride > 0 ? o.stride : run.length;
  run.text = tokenize_text(tokenizer, read_file(o.text));
  run.windows = text_windows(run.text.tokens, run.length, run.stride);
  for (const ScoreRequest& window : run.windows) run.scored += window.scored;
  if (run.scored == 0 || run.text.words == 0)
    fail_data(fmt::format("'{}' has {} tokens and {} words: nothing to score", o.text, run.text.own,
                          run.text.words));
  return run;
}

void evaluate_text(const EvalOptions& o, ThreadPool& pool, EvalJson& j) {
  const std::string directory = model_directory(o.model);
  const std::unique_ptr<Tokenizer> tokenizer = load_tokenizer(directory);
  const TextRun run = open_text(o, *tokenizer, read_hf_config(directory).context);
  EvalRecorder recorder(o.record, o.recipe);
  const LoadedModel loaded =
      load_model(o.model, o.recipe, {o.windows_a_pass(), run.length}, true, pool, recorder.weights());
  recorder.begin(*loaded.model);
  ProgressLine progress(fmt::format("{} in {}", o.text, o.recipe), "windows");
  double loss = 0;
  for (const Score& s : score(*loaded.model, run.windows, recorder.counting(watched(progress))))
    loss -= s.log_likelihood;
  progress.finish();
  recorder.finish();
  const TextFigures f = text_figures(run.text, loss, run.scored);
  EvalJson& own = j["text"];
  own["file"] = o.text;
  own["seq_len"] = run.length;
  own["stride"] = run.stride;
  own["batch"] = o.windows_a_pass();
  own["loss"] = f.loss;
  own["token_perplexity"] = f.token_perplexity;
  own["word_perplexity"] = f.word_perplexity;
  own["byte_perplexity"] = f.byte_perplexity;
  own["bits_per_byte"] = f.bits_per_byte;
  own["tokens"] = run.text.own;
  own["scored_tokens"] = run.scored;
  own["words"] = run.text.words;
  own["bytes"] = run.text.bytes;
  if (o.json) return;
  fmt::print("loss              {:.4f}\ntoken perplexity  {:.4f}\nword perplexity   {:.4f}\n", f.loss,
             f.token_perplexity, f.word_perplexity);
  fmt::print("byte perplexity   {:.4f}\nbits per byte     {:.4f}\n", f.byte_perplexity, f.bits_per_byte);
  fmt::print("scored            {} of {} tokens, windows of {} every {}\n", run.scored, run.text.own,
             run.length, run.stride);
}

}  // namespace octavo
