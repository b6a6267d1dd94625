// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/generate.h"

#include <fmt/format.h>

#include <algorithm>

#include "octavo/base/error.h"
#include "octavo/base/stopwatch.h"

namespace octavo {

GenerateResult generate(Transformer& model, std::span<const int32_t> prompt, const GenerateOptions& options,
                        const std::function<bool(int32_t)>& on_token) {
  if (prompt.empty()) fail_usage("the prompt has no tokens: give at least one character with --prompt");
  const int64_t room = model.limits().cache, length = static_cast<int64_t>(prompt.size());
  if (length >= room)
    fail_data(fmt::format("the prompt has {} tokens, the context {}: shorten the prompt to at most {}",
                          length, room, room - 1));
  for (const int32_t id : prompt)
    if (id < 0 || id >= model.config().vocab_size)
      fail_data(
          fmt::format("token {} is outside the model's vocabulary of {}", id, model.config().vocab_size));

  GenerateResult result;
  result.finish = "length";
  model.reset_cache();
  Stopwatch watch;
  std::span<const float> logits;
  for (int64_t at = 0; at < length;) {
    const int64_t count = std::min(model.limits().seq, length - at);
    logits = model.step(1, count, prompt.data() + at);
    at += count;
  }
  result.prompt_seconds = watch.restart();
  for (int64_t i = 0; i < options.max_new_tokens; ++i) {
    const int32_t token = sample(logits, options.sampler, static_cast<uint64_t>(i));
    if (std::find(options.stop.begin(), options.stop.end(), token) != options.stop.end()) {
      result.finish = "stop";
      break;
    }
    result.tokens.push_back(token);
    if (on_token && !on_token(token)) {
      result.finish = "caller";
      break;
    }
    if (i + 1 == options.max_new_tokens) break;
    if (model.cache_length() == room) {
      result.finish = "context";
      break;
    }
    logits = model.step(1, 1, &token);
  }
  result.decode_seconds = watch.seconds();
  return result;
}

}  // namespace octavo
