// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/serving_check.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "octavo/base/error.h"
#include "octavo/kernels/loss.h"

namespace octavo {
namespace {

/// Logits of the rows `from` of the pass that has just run go to the rows `to` of `out`.
void take_rows(Transformer& model, std::span<const int64_t> from, std::span<const int64_t> to,
               std::vector<float>& out) {
  const int64_t vocab = model.config().vocab_size;
  model.row_logits(from, [&](int64_t first, ConstMatrix logits) {
    for (int64_t r = 0; r < logits.rows; ++r) {
      float* row = out.data() + to[static_cast<size_t>(first + r)] * vocab;
      QuantizeArgs widen;  // fp32 and bf16 are cast as they are
      widen.x = rows_of(logits, r, 1);
      widen.out.codes = dense(row, Format::fp32, 1, vocab);
      quantize(widen, model.pass().pool);
    }
  });
}

}  // namespace

std::vector<float> logits_at_once(Transformer& model, const ServedText& text) {
  const int64_t rows = text.batch * text.seq;
  std::vector<int32_t> positions(static_cast<size_t>(rows));
  for (int64_t r = 0; r < rows; ++r) positions[static_cast<size_t>(r)] = static_cast<int32_t>(r % text.seq);
  model.read({text.batch, text.seq, text.tokens.data(), positions.data()});
  std::vector<int64_t> all(static_cast<size_t>(rows));
  std::iota(all.begin(), all.end(), 0);
  std::vector<float> out(static_cast<size_t>(rows * model.config().vocab_size));
  take_rows(model, all, all, out);
  return out;
}

std::vector<float> logits_in_pieces(Transformer& model, const ServedText& text, int64_t first,
                                    int64_t piece) {
  const int64_t vocab = model.config().vocab_size;
  std::vector<float> out(static_cast<size_t>(text.batch * text.seq * vocab));
  model.reset_cache();
  for (int64_t at = 0; at < text.seq;) {
    const int64_t count = std::min(at == 0 ? first : piece, text.seq - at);
    std::vector<int32_t> tokens;
    std::vector<int64_t> from, to;  // all but the last token of each text: step() gives that itself
    for (int64_t b = 0; b < text.batch; ++b)
      for (int64_t t = 0; t < count; ++t) {
        tokens.push_back(text.tokens[static_cast<size_t>(b * text.seq + at + t)]);
        if (t + 1 == count) continue;
        from.push_back(b * count + t);
        to.push_back(b * text.seq + at + t);
      }
    const std::span<const float> last = model.step(text.batch, count, tokens.data());
    for (int64_t b = 0; b < text.batch; ++b)
      std::copy_n(last.begin() + b * vocab, vocab, out.begin() + (b * text.seq + at + count - 1) * vocab);
    take_rows(model, from, to, out);
    at += count;
  }
  return out;
}

ServingDifference compare_served(std::span<const float> trained, std::span<const float> served,
                                 std::span<const int32_t> targets, int64_t vocab, ThreadPool& pool) {
  ServingDifference d;
  d.rows = static_cast<int64_t>(targets.size());
  if (d.rows == 0) return d;
  const auto view = [&](std::span<const float> logits) {
    return dense(const_cast<float*>(logits.data()), Format::fp32, d.rows, vocab);
  };
  const ConstMatrix a = view(trained), b = view(served);
  const size_t rows = targets.size();
  std::vector<double> sum_a(rows), sum_b(rows), divergence(rows);
  std::vector<int32_t> best_a(rows), best_b(rows);
  logit_statistics(a, sum_a.data(), best_a.data(), pool);
  logit_statistics(b, sum_b.data(), best_b.data(), pool);
  kl_divergence(a, b, divergence.data(), pool);
  for (size_t r = 0; r < rows; ++r) {
    if (std::isnan(sum_a[r]) || std::isnan(sum_b[r]))
      fail_data(
          "the logits contain NaN: the model's weights are damaged, or the recipe overflows on it (try "
          "--recipe bf16)");
    const float *x = trained.data() + static_cast<int64_t>(r) * vocab,
                *y = served.data() + static_cast<int64_t>(r) * vocab;
    if (std::memcmp(x, y, static_cast<size_t>(vocab) * sizeof(float)) == 0) continue;
    ++d.other_rows;
    d.other_top += best_a[r] != best_b[r];
    d.kl += divergence[r] / static_cast<double>(rows);
    for (int64_t v = 0; v < vocab; ++v)
      d.logit = std::max(d.logit, std::abs(static_cast<double>(x[v]) - static_cast<double>(y[v])));
    if (targets[r] == kIgnoreTarget) continue;
    const int64_t row = static_cast<int64_t>(r);
    const double difference =
        (logit_at(a, row, targets[r]) - sum_a[r]) - (logit_at(b, row, targets[r]) - sum_b[r]);
    d.log_prob = std::max(d.log_prob, std::abs(difference));
  }
  return d;
}

}  // namespace octavo
