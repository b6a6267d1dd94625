// SPDX-License-Identifier: Apache-2.0
#include <cstring>

#include "io/gguf_builder.h"
#include "io/io_test_util.h"
#include "octavo/io/gguf_model.h"

namespace octavo {
namespace {

std::vector<float> decoded(uint32_t number, const std::string& bytes, size_t elements) {
  std::vector<float> out(elements);
  decode_gguf(*find_gguf_encoding(number), reinterpret_cast<const std::byte*>(bytes.data()), elements,
              out.data());
  return out;
}

// 0x3800 is 0.5 in FP16, 0xc000 is -2; byte j of a block holds the codes of elements j and j + 16.
std::string nibbles() {
  std::string out;
  for (int j = 0; j < 16; ++j) out += static_cast<char>(j | (15 - j) << 4);
  return out;
}

TEST(GgufEncoding, BlocksOfFourBits) {
  const auto q4_0 = decoded(2, raw<uint16_t>(0x3800) + nibbles(), 32);
  const auto q4_1 = decoded(3, raw<uint16_t>(0x3800) + raw<uint16_t>(0xc000) + nibbles(), 32);
  for (int i = 0; i < 32; ++i) {
    const int code = i < 16 ? i : 15 - (i - 16);
    EXPECT_EQ(q4_0[static_cast<size_t>(i)], 0.5f * static_cast<float>(code - 8)) << i;
    EXPECT_EQ(q4_1[static_cast<size_t>(i)], 0.5f * static_cast<float>(code) - 2.0f) << i;
  }
}

TEST(GgufEncoding, BlocksOfFiveBits) {
  const uint32_t high = 0x80010003;  // elements 0, 1, 16 and 31
  const auto q5_0 = decoded(6, raw<uint16_t>(0x3800) + raw(high) + nibbles(), 32);
  const auto q5_1 = decoded(7, raw<uint16_t>(0x3800) + raw<uint16_t>(0xc000) + raw(high) + nibbles(), 32);
  for (int i = 0; i < 32; ++i) {
    const int code = (i < 16 ? i : 15 - (i - 16)) + (i == 0 || i == 1 || i == 16 || i == 31 ? 16 : 0);
    EXPECT_EQ(q5_0[static_cast<size_t>(i)], 0.5f * static_cast<float>(code - 16)) << i;
    EXPECT_EQ(q5_1[static_cast<size_t>(i)], 0.5f * static_cast<float>(code) - 2.0f) << i;
  }
}

TEST(GgufEncoding, BytesAndPlainTypes) {
  std::string bytes = raw<uint16_t>(0x3800);
  for (int i = 0; i < 32; ++i) bytes += static_cast<char>(i * 8 - 128);
  const auto q8_0 = decoded(8, bytes, 32);
  for (int i = 0; i < 32; ++i)
    EXPECT_EQ(q8_0[static_cast<size_t>(i)], 0.5f * static_cast<float>(i * 8 - 128));
  EXPECT_EQ(decoded(1, raw<uint16_t>(0x3800) + raw<uint16_t>(0x0001), 2),
            (std::vector<float>{0.5f, 0x1p-24f}));
  EXPECT_EQ(decoded(30, raw<uint16_t>(0x3f80) + raw<uint16_t>(0xc000), 2), (std::vector<float>{1, -2}));
  EXPECT_EQ(decoded(0, raw(3.25f), 1), std::vector<float>{3.25f});
}

std::vector<float> values(const GgufModel& model, const std::string& name) {
  const GgufParameter* parameter = model.find(name);
  if (!parameter || parameter->dtype != FileDtype::f32) {
    ADD_FAILURE() << name;
    return {};
  }
  std::vector<std::byte> bytes;
  model.read(*parameter, bytes);
  std::vector<float> out(bytes.size() / 4);
  std::memcpy(out.data(), bytes.data(), bytes.size());
  return out;
}

TEST(GgufModel, ConfigurationAndTensors) {
  const TempDir dir;
  GgufBuilder b = small_llama();
  b.set("llama.rope.freq_base", gguf_f32(100000));
  b.set("tokenizer.ggml.bos_token_id", gguf_u32(1));
  b.set("tokenizer.ggml.eos_token_id", gguf_u32(2));
  const GgufModel model(put_file(dir / "m.gguf", b.bytes()));
  const ModelConfig& c = model.config();
  EXPECT_EQ(c.vocab_size, 5);
  EXPECT_EQ(c.context, 16);
  EXPECT_EQ(c.head_dim, 4);
  EXPECT_EQ(c.kv_heads, 1);
  EXPECT_EQ(c.ffn, 3);
  EXPECT_EQ(c.norm_eps, 1e-5);  // not 9.99999974e-06
  EXPECT_EQ(c.rope_theta, 100000);
  EXPECT_EQ(c.bos, 1);
  EXPECT_EQ(c.eos, std::vector<int64_t>{2});
  EXPECT_TRUE(c.tied_head);
  EXPECT_EQ(model.find("lm_head.weight"), nullptr);
  EXPECT_EQ(values(model, "model.embed_tokens.weight")[39], 39);
  EXPECT_EQ(values(model, "model.layers.0.self_attn.v_proj.weight")[9], 409);
  EXPECT_EQ(values(model, "model.layers.0.mlp.down_proj.weight")[4], 904);
  EXPECT_EQ(model.find("model.layers.0.mlp.down_proj.weight")->source->shape, (std::vector<uint64_t>{8, 3}));
  EXPECT_EQ(values(model, "model.norm.weight")[7], 1007);
}

TEST(GgufModel, QueryAndKeyRowsComeInHalves) {
  const TempDir dir;
  const GgufModel model(put_file(dir / "m.gguf", small_llama().bytes()));
  const auto rows = [&](const std::string& name, float first) {
    std::vector<int> order;
    const auto data = values(model, "model.layers.0.self_attn." + name + ".weight");
    for (size_t i = 0; i < data.size(); i += 8) order.push_back(static_cast<int>((data[i] - first) / 8));
    return order;
  };
  EXPECT_EQ(rows("q_proj", 200), (std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7}));
  EXPECT_EQ(rows("k_proj", 300), (std::vector<int>{0, 2, 1, 3}));
  EXPECT_EQ(rows("v_proj", 400), (std::vector<int>{0, 1, 2, 3}));
  EXPECT_EQ(rows("o_proj", 500), (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(GgufModel, AnUntiedHeadAndSixteenBitsKeepTheirType) {
  const TempDir dir;
  GgufBuilder b = small_llama();
  std::string half;
  for (uint16_t i = 0; i < 40; ++i) half += raw<uint16_t>(i);
  b.tensors.push_back({"output.weight", {8, 5}, 1, half});
  const GgufModel model(put_file(dir / "m.gguf", b.bytes()));
  EXPECT_FALSE(model.config().tied_head);
  const GgufParameter* head = model.find("lm_head.weight");
  ASSERT_NE(head, nullptr);
  EXPECT_EQ(head->dtype, FileDtype::f16);
  std::vector<std::byte> bytes;
  model.read(*head, bytes);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size()), half);
}

TEST(GgufModel, Version2AndAnotherAlignment) {
  const TempDir dir;
  GgufBuilder b = small_llama();
  b.version = 2;
  b.alignment = 64;
  b.set("general.alignment", gguf_u32(64));
  const GgufModel model(put_file(dir / "m.gguf", b.bytes()));
  EXPECT_EQ(model.file().version(), 2u);
  EXPECT_EQ(values(model, "model.norm.weight")[0], 1000);
}

TEST(GgufModel, WhatTheEngineDoesNotComputeIsRefusedByName) {
  const TempDir dir;
  const auto refusal = [&](auto change) {
    GgufBuilder b = small_llama();
    change(b);
    const std::string path = put_file(dir / "m.gguf", b.bytes());
    const std::string text = error_of([&] { GgufModel model(path); }, ExitCode::unsupported);
    expect_contains(text, path);
    return text;
  };
  expect_contains(refusal([](GgufBuilder& b) { b.set("general.architecture", gguf_string("qwen2")); }),
                  "'qwen2'");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.expert_count", gguf_u32(8)); }),
                  "llama.expert_count");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.rope.dimension_count", gguf_u32(2)); }),
                  "dimension_count");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.rope.scaling.type", gguf_string("yarn")); }),
                  "'yarn'");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.rope.scaling.factor", gguf_f32(4)); }), "factor");
  expect_contains(refusal([](GgufBuilder& b) {
                    b.tensors.push_back({"rope_freqs.weight", {2}, 0, counting(2, 1)});
                  }),
                  "rope_freqs.weight");
  expect_contains(refusal([](GgufBuilder& b) {
                    b.tensors.push_back({"blk.0.attn_q.bias", {8}, 0, counting(8, 1)});
                  }),
                  "blk.0.attn_q.bias");
  expect_contains(refusal([](GgufBuilder& b) { b.set("split.count", gguf_u32(3)); }), "one of 3 parts");
  for (const auto& [number, name] :
       {std::pair(12u, "Q4_K"), {14u, "Q6_K"}, {20u, "IQ4_NL"}, {99u, "type 99"}}) {
    const std::string text =
        refusal([&, n = number](GgufBuilder& b) { b.tensor("blk.0.attn_q.weight").type = n; });
    expect_contains(text, std::string("'blk.0.attn_q.weight' is stored as ") + name);
    expect_contains(text, "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0 are");
  }
}

TEST(GgufModel, ContradictionsAreRefusedByName) {
  const TempDir dir;
  const auto refusal = [&](auto change) {
    GgufBuilder b = small_llama();
    change(b);
    const std::string path = put_file(dir / "m.gguf", b.bytes());
    const std::string text = error_of([&] { GgufModel model(path); });
    expect_contains(text, path);
    return text;
  };
  expect_contains(refusal([](GgufBuilder& b) { b.metadata.erase(b.metadata.begin() + 5); }),
                  "'llama.attention.head_count' is missing");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.block_count", gguf_u32(2)); }),
                  "tensor blk.1.attn_norm.weight is missing");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.block_count", gguf_u32(16000)); }),
                  "only 11 tensors");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.block_count", gguf_u32(4000000000)); }),
                  "layers");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.block_count", gguf_f32(1)); }),
                  "of type fraction");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.feed_forward_length", gguf_ints({3})); }),
                  "an array");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.attention.head_count", gguf_u32(0)); }),
                  "heads is 0");
  expect_contains(refusal([](GgufBuilder& b) { b.set("llama.feed_forward_length", gguf_u32(4)); }),
                  "blk.0.ffn_gate.weight has shape [3, 8], the metadata asks for [4, 8]");
  expect_contains(refusal([](GgufBuilder& b) { b.set("tokenizer.ggml.eos_token_id", gguf_u32(5)); }),
                  "token id 5");
  expect_contains(refusal([](GgufBuilder& b) { b.tensor("token_embd.weight").dims = {40}; }),
                  "token_embd.weight");
}

}  // namespace
}  // namespace octavo
