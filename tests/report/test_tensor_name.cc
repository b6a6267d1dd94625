// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/tensor_name.h"

#include <gtest/gtest.h>

namespace octavo {
namespace {

TEST(TensorName, KindsOfBothFamilies) {
  EXPECT_EQ(layer_kind("transformer.h.11.attn.c_attn"), LayerKind::qkv);
  EXPECT_EQ(layer_kind("transformer.h.11.attn.c_proj"), LayerKind::attention_out);
  EXPECT_EQ(layer_kind("transformer.h.11.mlp.c_fc"), LayerKind::ffn_up);
  EXPECT_EQ(layer_kind("transformer.h.11.mlp.c_proj"), LayerKind::ffn_down);
  for (const char* name : {"qkv", "q_proj", "k_proj", "v_proj"})
    EXPECT_EQ(layer_kind("model.layers.3.self_attn." + std::string(name)), LayerKind::qkv) << name;
  EXPECT_EQ(layer_kind("model.layers.3.self_attn.o_proj"), LayerKind::attention_out);
  for (const char* name : {"gate_up", "gate_proj", "up_proj"})
    EXPECT_EQ(layer_kind("model.layers.3.mlp." + std::string(name)), LayerKind::ffn_up) << name;
  EXPECT_EQ(layer_kind("model.layers.3.mlp.down_proj"), LayerKind::ffn_down);
  for (const char* name : {"lm_head", "", ".", "c_proj", "transformer.h.1.mixer.c_proj"})
    EXPECT_EQ(layer_kind(name), LayerKind::other) << name;
}

TEST(TensorName, Layers) {
  EXPECT_EQ(layer_index("transformer.h.11.attn.c_attn"), 11);
  EXPECT_EQ(short_name("transformer.h.11.attn.c_attn"), "attn.c_attn");
  EXPECT_EQ(layer_index("lm_head"), -1);
  EXPECT_EQ(short_name("lm_head"), "lm_head");
  EXPECT_EQ(short_name("h.3.attn.c_attn", "gemm.input"), "attn.c_attn");
  EXPECT_EQ(short_name("h.3.attn.c_attn", "gemm.wgrad.input"), "attn.c_attn wgrad");
  EXPECT_EQ(short_name("h.3.attn.c_attn", "store.moment2"), "attn.c_attn moment2");
  EXPECT_EQ(layer_index("a.99999999999999999999.b"), -1) << "not a number of a layer";
  EXPECT_EQ(layer_index("h.7"), 7);
  EXPECT_EQ(short_name("h.7"), "h.7");
  EXPECT_EQ(layer_index(""), -1);
}

TEST(TensorName, Classes) {
  EXPECT_EQ(tensor_class("gemm.weight"), TensorClass::weights);
  EXPECT_EQ(tensor_class("gemm.dgrad.weight"), TensorClass::weights);
  EXPECT_EQ(tensor_class("gemm.input"), TensorClass::activations);
  EXPECT_EQ(tensor_class("gemm.wgrad.grad_output"), TensorClass::gradients);
  EXPECT_EQ(tensor_class("store.weight_grad"), TensorClass::weight_gradients);
  EXPECT_EQ(tensor_class("store.moment2"), TensorClass::second_moments);
  EXPECT_EQ(to_string(TensorClass::second_moments), "second moments");
  for (const char* role : {"", "gemm", "store", "store.x", "attention.q"})
    EXPECT_EQ(tensor_class(role), TensorClass::other) << role;
}

}  // namespace
}  // namespace octavo
