// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "octavo/infer/sampler.h"
#include "octavo/nn/transformer.h"

namespace octavo {

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  SamplerParams sampler;
  std::vector<int32_t> stop;  ///< token ids that end the text and are not part of it
};

struct GenerateResult {
  std::vector<int32_t> tokens;  ///< new ones
  std::string finish;  ///< "stop": a stop token, "length": max_new_tokens, "context": the cache is full,
                       ///< "caller": on_token said so
  double prompt_seconds = 0, decode_seconds = 0;
};

/// Continues `prompt` (at least one token). on_token(id) is called as each token is known; false ends the
/// text. The model's cache is reset first. Throws bad_data when the prompt leaves no room in the cache, or an
/// id is outside the vocabulary.
GenerateResult generate(Transformer& model, std::span<const int32_t> prompt, const GenerateOptions& options,
                        const std::function<bool(int32_t)>& on_token = {});

}  // namespace octavo
