// SPDX-License-Identifier: Apache-2.0
// Log-likelihoods of continuations: what every zero-shot task and every perplexity is made of.
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "octavo/data/tokenizer.h"
#include "octavo/nn/transformer.h"

namespace octavo {

/// Tokens of a context and its continuation, of which the last `scored` are the continuation.
struct SplitTokens {
  std::vector<int32_t> tokens;
  int64_t scored = 0;
};

/// As lm-evaluation-harness tokenizes: spaces at the end of the context move to the continuation. The context
/// is encoded alone; the continuation is what the encoding of both together has behind as many tokens as the
/// context has. (A tokenizer that joins them may encode the end of the context differently there; that end is
/// then not quite what was scored before.) Where nothing is left behind them, the harness stops; here the
/// context is then what both encodings begin with. An empty context is the BOS token, or EOS without one.
/// When more than `longest` + 1 tokens come out, the first ones are dropped. Throws bad_data, beginning with
/// `place`, when the continuation has no tokens or more than `longest`, or when there is neither context nor
/// BOS nor EOS.
SplitTokens split_tokens(const Tokenizer& tokenizer, std::string_view context, std::string_view continuation,
                         int64_t longest, std::string_view place);

/// The same split into the tokens a model is fine-tuned on (encode_example): where the tokenizer joins
/// characters across the border, context and continuation are encoded apart.
SplitTokens split_as_trained(const Tokenizer& tokenizer, std::string_view context,
                             std::string_view continuation, int64_t longest, std::string_view place);

/// The last `scored` of `tokens` are scored given all before them; scored < tokens.size(). The last token is
/// never read, only scored.
struct ScoreRequest {
  std::span<const int32_t> tokens;
  int64_t scored = 0;
};

struct Score {
  double log_likelihood = 0;  ///< sum over the scored tokens, natural units
  bool greedy = false;        ///< every scored token has the largest logit (the smallest id of equals)
};

/// Indices of `lengths` in batches of at most `batch`, all of one length within a batch: nothing is padded,
/// so a scale taken from a whole tensor sees real tokens only. Longest first; within a length in the given
/// order.
std::vector<std::vector<size_t>> batches_by_length(std::span<const int64_t> lengths, int64_t batch);

/// Scores in the order of the requests, with model.limits().batch sequences in a pass. Requests that read the
/// same tokens share one sequence. `progress(done, total)` in requests. The same requests and limits give the
/// same bits for any team. Other sequences of a batch change a score where the recipe takes a scale from the
/// data of a pass; elsewhere only its last bits, since small passes are summed in another order. Throws
/// bad_data when a request does not fit the model's limits or vocabulary, or a logit is not a number.
std::vector<Score> score(Transformer& model, std::span<const ScoreRequest> requests,
                         const std::function<void(int64_t done, int64_t total)>& progress = {});

}  // namespace octavo
