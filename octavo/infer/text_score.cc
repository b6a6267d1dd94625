// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/text_score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "octavo/base/error.h"
#include "octavo/infer/task_text.h"
#include "octavo/kernels/loss.h"

namespace octavo {

TextTokens tokenize_text(const Tokenizer& tokenizer, std::string_view text) {
  TextTokens t;
  t.tokens = tokenizer.encode(text, tokenizer.adds_bos());
  t.own = static_cast<int64_t>(t.tokens.size()) - (tokenizer.adds_bos() && tokenizer.bos() ? 1 : 0);
  t.bytes = static_cast<int64_t>(text.size());
  t.words = count_words(text);
  t.characters = count_characters(text);
  return t;
}

std::vector<ScoreRequest> text_windows(std::span<const int32_t> tokens, int64_t length, int64_t stride) {
  if (length < 2)
    fail_usage(fmt::format("a window of {} tokens scores nothing, expected at least 2", length));
  if (stride < 1 || stride > length)
    fail_usage(fmt::format("--stride is {}, expected 1 to {}, the tokens of a window", stride, length));
  const int64_t size = static_cast<int64_t>(tokens.size());
  std::vector<ScoreRequest> windows;
  int64_t reached = 0;  // tokens that windows before this one had
  for (int64_t begin = 0; begin < size && reached < size; begin += stride) {
    const int64_t end = std::min(begin + length, size);
    const int64_t scored = end - std::max(reached, begin + 1);
    if (scored > 0)
      windows.push_back(
          {tokens.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)), scored});
    reached = end;
  }
  return windows;
}

TextFigures text_figures(const TextTokens& text, double loss_sum, int64_t scored) {
  TextFigures f;
  f.loss = loss_sum / static_cast<double>(scored);
  const double whole = f.loss * static_cast<double>(text.own);
  f.token_perplexity = std::exp(f.loss);
  f.word_perplexity = std::exp(whole / static_cast<double>(text.words));
  f.byte_perplexity = std::exp(whole / static_cast<double>(text.bytes));
  f.bits_per_byte = whole / static_cast<double>(text.bytes) / std::log(2.0);
  return f;
}

namespace {

/// Statistics of one side's logits of a few rows.
struct Side {
  std::vector<double> log_sum;
  std::vector<int32_t> best;
  void take(ConstMatrix logits, ThreadPool& pool) {
    log_sum.resize(static_cast<size_t>(logits.rows));
    best.resize(static_cast<size_t>(logits.rows));
    logit_statistics(logits, log_sum.data(), best.data(), pool);
  }
};

}  // namespace

TextComparison compare_text(Transformer& a, Transformer& b, std::span<const ScoreRequest> windows,
                            const std::function<void(int64_t, int64_t)>& progress) {
  if (a.config().vocab_size != b.config().vocab_size)
    fail_data(fmt::format("models with {} and {} tokens have no distributions to compare",
                          a.config().vocab_size, b.config().vocab_size));
  TextComparison result;
  result.loss_a.resize(windows.size());
  result.loss_b.resize(windows.size());
  for (const ScoreRequest& w : windows) result.scored.push_back(static_cast<double>(w.scored));
  std::vector<int64_t> lengths;
  for (const ScoreRequest& w : windows) lengths.push_back(static_cast<int64_t>(w.tokens.size()) - 1);

  ThreadPool& pool = a.pass().pool;
  Side side_a, side_b;
  std::vector<double> divergence;
  int64_t done = 0;
  const int64_t most = std::min(a.limits().batch, b.limits().batch);
  for (const std::vector<size_t>& batch : batches_by_length(lengths, most)) {
    const int64_t length = lengths[batch.front()];
    std::vector<int32_t> tokens, positions;
    std::vector<int64_t> rows;
    struct Target {
      size_t window;
      int32_t token;
    };
    std::vector<Target> targets;
    for (const size_t w : batch) {
      const std::span<const int32_t> window = windows[w].tokens;
      tokens.insert(tokens.end(), window.begin(), window.end() - 1);
      for (int64_t t = 0; t < length; ++t) positions.push_back(static_cast<int32_t>(t));
      for (int64_t back = windows[w].scored; back-- > 0;) {
        rows.push_back(static_cast<int64_t>(tokens.size()) - 1 - back);
        targets.push_back({w, window[window.size() - 1 - static_cast<size_t>(back)]});
      }
    }
    const Batch input{static_cast<int64_t>(batch.size()), length, tokens.data(), positions.data()};
    a.read(input);
    b.read(input);
    const std::span<const int64_t> all(rows);
    a.row_logits(all, [&](int64_t first, ConstMatrix logits_a) {
      side_a.take(logits_a, pool);
      // The other model may take its logits in smaller portions, when they are wider.
      b.row_logits(
          all.subspan(static_cast<size_t>(first), static_cast<size_t>(logits_a.rows)),
          [&](int64_t offset, ConstMatrix logits_b) {
            side_b.take(logits_b, pool);
            const ConstMatrix same_rows = rows_of(logits_a, offset, logits_b.rows);
            divergence.resize(static_cast<size_t>(logits_b.rows));
            kl_divergence(same_rows, logits_b, divergence.data(), pool);
            for (int64_t r = 0; r < logits_b.rows; ++r) {
              const Target& target = targets[static_cast<size_t>(first + offset + r)];
              const size_t at_a = static_cast<size_t>(offset + r), at_b = static_cast<size_t>(r);
              result.loss_a[target.window] += side_a.log_sum[at_a] - logit_at(same_rows, r, target.token);
              result.loss_b[target.window] += side_b.log_sum[at_b] - logit_at(logits_b, r, target.token);
              result.divergence.push_back(divergence[at_b]);
              result.same_top += side_a.best[at_a] == side_b.best[at_b];
            }
          });
    });
    for (const size_t w : batch)
      if (std::isnan(result.loss_a[w]) || std::isnan(result.loss_b[w]))
        fail_data(
            fmt::format("the logits of model {} contain NaN: its weights are damaged, or the recipe "
                        "overflows on it (try --recipe bf16)",
                        std::isnan(result.loss_a[w]) ? "a" : "b"));
    done += static_cast<int64_t>(batch.size());
    if (progress) progress(done, static_cast<int64_t>(windows.size()));
  }
  return result;
}

}  // namespace octavo
