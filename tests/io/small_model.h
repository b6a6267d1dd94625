// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "octavo/nn/model_config.h"

namespace octavo {

inline ModelConfig small_model_config(int64_t width = 8, int64_t ffn = 12) {
  ModelConfig c;
  c.family = Family::llama;
  c.vocab_size = 6;
  c.context = 16;
  c.width = width;
  c.layers = 1;
  c.heads = 2;
  c.kv_heads = 1;
  c.head_dim = width / 2;
  c.ffn = ffn;
  c.activation = Activation::silu;
  c.tied_head = false;
  return c;
}

}  // namespace octavo
