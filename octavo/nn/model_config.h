// SPDX-License-Identifier: Apache-2.0
// Which network: everything that fixes the shapes and the arithmetic of a model, whatever its recipe.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "octavo/kernels/activation.h"
#include "octavo/nn/scheme.h"

namespace octavo {

/// gpt2: learned positions, LayerNorm, biases, one fused qkv matrix, a plain MLP.
/// llama: rotary positions, RMSNorm, no biases, separate q/k/v, a gated MLP, grouped key/value heads.
/// octavo: a GPT to compare parametrizations on: LayerNorm, no biases, one fused qkv matrix, a plain MLP,
/// rotary or learned positions; the scheme decides the rest.
enum class Family { gpt2, llama, octavo };
const char* to_string(Family family);

struct ModelConfig {
  std::string name;  ///< preset or directory it came from; for messages only
  Family family = Family::gpt2;
  int64_t vocab_size = 0;
  int64_t context = 0;  ///< longest sequence
  int64_t width = 0;    ///< of the residual stream
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;  ///< divides heads; gpt2: equal
  int64_t head_dim = 0;  ///< gpt2: width / heads
  int64_t ffn = 0;       ///< hidden width of the MLP
  Activation activation = Activation::gelu_tanh;
  double norm_eps = 1e-5;
  double rope_theta = 10000.0;  ///< rotary positions only
  bool tied_head = true;        ///< the LM head is the embedding
  double init_std = 0.02;
  // Family octavo chooses these; the others are `sp` as it stands here.
  Scheme scheme = Scheme::sp;
  NormPlacement placement = NormPlacement::pre;
  Residual residual = Residual::sum;
  double tau = 0;  ///< share of a branch in the variance of the stream; residual `fixed` only
  bool learned_positions = false;
  bool final_norm = true;     ///< before the LM head
  bool multipliers = true;    ///< false: products inside the blocks are not multiplied, whatever the scheme
  bool sqrt_softmax = false;  ///< attention weights are the square roots of a softmax
  std::vector<int64_t> eos;   ///< end-of-text ids, may be empty
  int64_t bos = -1;

  bool gated() const { return family == Family::llama; }
  bool layer_norm() const { return family != Family::llama; }
  bool fused_qkv() const { return family != Family::llama; }
  bool biases() const { return family == Family::gpt2; }
  bool rotary() const { return family == Family::llama || (family == Family::octavo && !learned_positions); }
  int64_t q_width() const { return heads * head_dim; }
  int64_t kv_width() const { return kv_heads * head_dim; }
  int64_t qkv_width() const { return q_width() + 2 * kv_width(); }
};

/// Throws unsupported or bad_data with the key that is wrong ("width 100 is not a multiple of heads 12").
/// `source` begins the message: a file or preset name.
void validate(const ModelConfig& config, const std::string& source);

/// All parameters; without_embeddings leaves out token and position tables (and the head where it is untied).
int64_t parameter_count(const ModelConfig& config, bool without_embeddings = false);

/// Floating-point operations (2 per multiply-add) of one training step or one forward pass over `batch`
/// sequences of length `seq`. Attention counts the causal half only.
struct ModelFlops {
  double linear = 0;     ///< GEMMs of the blocks
  double head = 0;       ///< LM head
  double attention = 0;  ///< scores and values
  double total() const { return linear + head + attention; }
};
ModelFlops forward_flops(const ModelConfig& config, int64_t batch, int64_t seq);
/// Forward + backward: three times the forward GEMMs; attention backward has five products for two.
ModelFlops training_flops(const ModelConfig& config, int64_t batch, int64_t seq);

}  // namespace octavo
