// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/model_config.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

#include "octavo/base/error.h"

namespace octavo {

const char* to_string(Family family) {
  switch (family) {
    case Family::gpt2:
      return "gpt2";
    case Family::llama:
      return "llama";
    case Family::octavo:
      return "octavo";
  }
  return "?";
}

void validate(const ModelConfig& c, const std::string& source) {
  const auto positive = [&](int64_t value, const char* key, int64_t limit) {
    if (value <= 0 || value > limit)
      fail_data(fmt::format("{}: {} is {}, expected a number from 1 to {}", source, key, value, limit));
  };
  positive(c.vocab_size, "vocab_size", 1 << 24);
  positive(c.context, "context", 1 << 24);
  positive(c.width, "width", 1 << 20);
  positive(c.layers, "layers", 1 << 14);
  positive(c.heads, "heads", 1 << 14);
  positive(c.kv_heads, "kv_heads", 1 << 14);
  positive(c.head_dim, "head_dim", 1024);
  positive(c.ffn, "ffn", 1 << 22);
  if (c.heads % c.kv_heads != 0)
    fail_data(fmt::format("{}: heads {} is not a multiple of kv_heads {}", source, c.heads, c.kv_heads));
  if (c.family == Family::gpt2 && c.kv_heads != c.heads)
    fail_unsupported(fmt::format("{}: a gpt2 model has as many kv_heads as heads ({}), found {}", source,
                                 c.heads, c.kv_heads));
  if (c.family == Family::gpt2 && c.heads * c.head_dim != c.width)
    fail_data(
        fmt::format("{}: width {} is not heads {} x head_dim {}", source, c.width, c.heads, c.head_dim));
  if (c.rotary() && c.head_dim % 2 != 0)
    fail_data(fmt::format("{}: head_dim {} is odd, rotary positions need pairs", source, c.head_dim));
  const auto number = [&](double value, const char* key, double least) {
    if (!std::isfinite(value) || value < least)
      fail_data(fmt::format("{}: {} is {}, expected a {} number", source, key, value,
                            least > 0 ? "positive" : "non-negative"));
  };
  number(c.norm_eps, "norm_eps", std::numeric_limits<double>::min());
  number(c.rope_theta, "rope_theta", std::numeric_limits<double>::min());
  number(c.init_std, "init_std", 0);
  number(c.tau, "tau", 0);
  if (c.residual == Residual::fixed && (c.tau <= 0 || c.tau >= 1))
    fail_data(fmt::format("{}: tau is {}, expected a share between 0 and 1", source, c.tau));
  const bool plain = c.scheme == Scheme::sp && c.placement == NormPlacement::pre &&
                     c.residual == Residual::sum && c.final_norm && c.multipliers && !c.sqrt_softmax;
  if (c.family != Family::octavo && !plain)
    fail_unsupported(
        fmt::format("{}: schemes, residual rules, norm placement and softmax are those of family octavo; a "
                    "{} model has none of them",
                    source, to_string(c.family)));
  if (c.placement == NormPlacement::pre && !c.final_norm)
    fail_unsupported(
        fmt::format("{}: a model whose norms stand before the branches needs a final_norm", source));
}

namespace {
int64_t block_matrix_elements(const ModelConfig& c) {
  return c.width * c.qkv_width() + c.q_width() * c.width + c.width * c.ffn * (c.gated() ? 3 : 2);
}
}  // namespace

int64_t parameter_count(const ModelConfig& c, bool without_embeddings) {
  const int64_t norm = c.width * (c.biases() ? 2 : 1);
  const int64_t biases = c.biases() ? c.qkv_width() + c.width + c.ffn + c.width : 0;
  int64_t count = c.layers * (block_matrix_elements(c) + biases + 2 * norm) + (c.final_norm ? norm : 0);
  if (!without_embeddings) {
    count += c.vocab_size * c.width * (c.tied_head ? 1 : 2);
    if (!c.rotary()) count += c.context * c.width;
  }
  return count;
}

ModelFlops forward_flops(const ModelConfig& c, int64_t batch, int64_t seq) {
  const double tokens = static_cast<double>(batch) * static_cast<double>(seq);
  ModelFlops f;
  f.linear = 2.0 * tokens * static_cast<double>(c.layers * block_matrix_elements(c));
  f.head = 2.0 * tokens * static_cast<double>(c.vocab_size * c.width);
  // Two products of seq x seq x head_dim a head, half of it above the diagonal.
  f.attention =
      2.0 * 2.0 * tokens * (static_cast<double>(seq) + 1) / 2 * static_cast<double>(c.q_width() * c.layers);
  return f;
}

ModelFlops training_flops(const ModelConfig& c, int64_t batch, int64_t seq) {
  ModelFlops f = forward_flops(c, batch, seq);
  f.linear *= 3;
  f.head *= 3;
  f.attention *= 3.5;
  return f;
}

}  // namespace octavo
