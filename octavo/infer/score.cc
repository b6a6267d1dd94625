// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/score.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "octavo/base/error.h"
#include "octavo/data/examples.h"
#include "octavo/data/shard.h"
#include "octavo/infer/task_text.h"
#include "octavo/kernels/loss.h"

namespace octavo {
namespace {

/// Leaves the last `longest` + 1 tokens.
void cut(SplitTokens& split, int64_t longest, std::string_view place) {
  if (split.scored > longest)
    fail_data(fmt::format("{}: the continuation has {} tokens, the model's context is {}", place,
                          split.scored, longest));
  if (const size_t most = static_cast<size_t>(longest) + 1; split.tokens.size() > most)
    split.tokens.erase(split.tokens.begin(), split.tokens.end() - static_cast<std::ptrdiff_t>(most));
}

}  // namespace

SplitTokens split_tokens(const Tokenizer& tokenizer, std::string_view context, std::string_view continuation,
                         int64_t longest, std::string_view place) {
  SplitTokens split;
  if (context.empty()) {
    const std::optional<int32_t> prefix = tokenizer.bos() ? tokenizer.bos() : tokenizer.eos();
    if (!prefix)
      fail_data(fmt::format(
          "{}: an empty context needs a BOS or EOS token to stand for it, and the tokenizer has neither",
          place));
    split.tokens = {*prefix};
    tokenizer.encode_to(continuation, false, split.tokens);
    split.scored = static_cast<int64_t>(split.tokens.size()) - 1;
  } else {
    const std::vector<int32_t> whole =
        tokenizer.encode(std::string(context) + std::string(continuation), tokenizer.adds_bos());
    split.tokens = tokenizer.encode(strip_end(context), tokenizer.adds_bos());
    if (split.tokens.size() >= whole.size()) {
      // A tokenizer that joins the two, in fewer tokens: what both encodings begin with is the context.
      const auto [alone, unused] =
          std::mismatch(split.tokens.begin(), split.tokens.end(), whole.begin(), whole.end());
      split.tokens.erase(alone, split.tokens.end());
    }
    const size_t before = split.tokens.size();
    if (before == 0) fail_data(fmt::format("{}: the context has no tokens of its own", place));
    split.tokens.insert(split.tokens.end(), whole.begin() + static_cast<std::ptrdiff_t>(before), whole.end());
    split.scored = static_cast<int64_t>(whole.size() - before);
  }
  if (split.scored < 1)
    fail_data(fmt::format("{}: the continuation \"{}\" has no tokens of its own", place, continuation));
  cut(split, longest, place);
  return split;
}

SplitTokens split_as_trained(const Tokenizer& tokenizer, std::string_view context,
                             std::string_view continuation, int64_t longest, std::string_view place) {
  const Example example{
      {{Piece::Kind::text, std::string(context)}, {Piece::Kind::text, std::string(continuation), true}},
      std::string(place)};
  SplitTokens split;
  std::vector<uint8_t> marks;
  encode_example(tokenizer, example, split.tokens, marks);
  split.scored = std::count(marks.begin(), marks.end(), kCounts);
  cut(split, longest, place);
  return split;
}

std::vector<std::vector<size_t>> batches_by_length(std::span<const int64_t> lengths, int64_t batch) {
  std::vector<size_t> order(lengths.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return lengths[a] > lengths[b]; });
  std::vector<std::vector<size_t>> batches;
  for (const size_t i : order) {
    const bool fits = !batches.empty() && static_cast<int64_t>(batches.back().size()) < batch &&
                      lengths[batches.back().front()] == lengths[i];
    if (!fits) batches.emplace_back();
    batches.back().push_back(i);
  }
  return batches;
}

namespace {

/// Requests that read the same tokens.
struct Sequence {
  std::span<const int32_t> read;
  std::vector<size_t> requests;
  int64_t scored = 0;  ///< of the request that scores most
};

void check(const Transformer& model, const ScoreRequest& request) {
  const int64_t size = static_cast<int64_t>(request.tokens.size());
  if (request.scored < 1 || request.scored >= size)
    fail_data(
        fmt::format("{} of {} tokens cannot be scored: each needs one before it", request.scored, size));
  if (size - 1 > model.limits().seq)
    fail_data(fmt::format("a sequence of {} tokens is longer than the {} the model was opened for", size - 1,
                          model.limits().seq));
  for (const int32_t id : request.tokens)
    if (id < 0 || id >= model.config().vocab_size)
      fail_data(
          fmt::format("token {} is outside the model's vocabulary of {}", id, model.config().vocab_size));
}

std::vector<Sequence> share(std::span<const ScoreRequest> requests) {
  const auto before = [](std::span<const int32_t> a, std::span<const int32_t> b) {
    return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
  };
  std::map<std::span<const int32_t>, size_t, decltype(before)> known(before);
  std::vector<Sequence> sequences;
  for (size_t i = 0; i < requests.size(); ++i) {
    const std::span<const int32_t> read = requests[i].tokens.first(requests[i].tokens.size() - 1);
    const auto [at, fresh] = known.try_emplace(read, sequences.size());
    if (fresh) sequences.push_back({read, {}, 0});
    Sequence& sequence = sequences[at->second];
    sequence.requests.push_back(i);
    sequence.scored = std::max(sequence.scored, requests[i].scored);
  }
  return sequences;
}

}  // namespace

std::vector<Score> score(Transformer& model, std::span<const ScoreRequest> requests,
                         const std::function<void(int64_t, int64_t)>& progress) {
  for (const ScoreRequest& request : requests) check(model, request);
  const std::vector<Sequence> sequences = share(requests);
  std::vector<int64_t> lengths;
  for (const Sequence& s : sequences) lengths.push_back(static_cast<int64_t>(s.read.size()));

  std::vector<Score> scores(requests.size(), Score{0, true});
  std::vector<int32_t> tokens, positions, best;
  std::vector<int64_t> rows;
  std::vector<double> log_sum;
  /// Whose row it is, and its place from the end of the sequence (0: the last).
  struct RowOwner {
    const Sequence* sequence;
    int64_t from_end;
  };
  std::vector<RowOwner> owners;
  int64_t done = 0;
  for (const std::vector<size_t>& batch : batches_by_length(lengths, model.limits().batch)) {
    const int64_t length = lengths[batch.front()];
    tokens.clear();
    positions.clear();
    rows.clear();
    owners.clear();
    for (const size_t s : batch) {
      const Sequence& sequence = sequences[s];
      tokens.insert(tokens.end(), sequence.read.begin(), sequence.read.end());
      for (int64_t t = 0; t < length; ++t) positions.push_back(static_cast<int32_t>(t));
      for (int64_t back = sequence.scored; back-- > 0;) {
        rows.push_back(static_cast<int64_t>(tokens.size()) - 1 - back);
        owners.push_back({&sequence, back});
      }
    }
    model.read({static_cast<int64_t>(batch.size()), length, tokens.data(), positions.data()});
    model.row_logits(rows, [&](int64_t first, ConstMatrix logits) {
      log_sum.resize(static_cast<size_t>(logits.rows));
      best.resize(static_cast<size_t>(logits.rows));
      logit_statistics(logits, log_sum.data(), best.data(), model.pass().pool);
      for (int64_t r = 0; r < logits.rows; ++r) {
        const RowOwner& owner = owners[static_cast<size_t>(first + r)];
        for (const size_t i : owner.sequence->requests) {
          if (owner.from_end >= requests[i].scored) continue;
          const int32_t target =
              requests[i].tokens[requests[i].tokens.size() - 1 - static_cast<size_t>(owner.from_end)];
          scores[i].log_likelihood += logit_at(logits, r, target) - log_sum[static_cast<size_t>(r)];
          scores[i].greedy &= best[static_cast<size_t>(r)] == target;
        }
      }
    });
    for (const size_t s : batch)
      for (const size_t i : sequences[s].requests) {
        ++done;
        if (std::isnan(scores[i].log_likelihood))
          fail_data(
              "the model's logits contain NaN: its weights are damaged, or the recipe overflows on it (try "
              "--recipe bf16)");
      }
    if (progress) progress(done, static_cast<int64_t>(requests.size()));
  }
  return scores;
}

}  // namespace octavo
