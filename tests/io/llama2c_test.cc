// SPDX-License-Identifier: Apache-2.0
#include "octavo/io/llama2c.h"

#include <cmath>
#include <cstring>

#include "io/io_test_util.h"
#include "shared_data.h"

namespace octavo {
namespace {

std::string ints(std::initializer_list<int32_t> values) {
  std::string text;
  for (const int32_t value : values) text.append(reinterpret_cast<const char*>(&value), 4);
  return text;
}

/// `count` floats that count up from `first`.
std::string floats(size_t count, size_t first = 0) {
  std::string text;
  for (size_t i = 0; i < count; ++i) {
    const auto value = static_cast<float>(first + i);
    text.append(reinterpret_cast<const char*>(&value), 4);
  }
  return text;
}

// dim 8, hidden 3, 2 layers, 2 heads of 4, 1 key/value head, vocabulary 5, context 6.
constexpr size_t kParameters = 5 * 8 + 2 * 8 + 2 * (64 + 32 + 32 + 64) + 2 * 8 + 2 * 3 * 24 + 8;
std::string legacy(int32_t vocab = 5, size_t extra = 6 * 4) {
  return ints({8, 3, 2, 2, 1, vocab, 6}) + floats(kParameters + extra);
}

std::vector<float> values(const Llama2cModel& model, const std::string& name) {
  const Llama2cTensor* tensor = model.find(name);
  if (!tensor) {
    ADD_FAILURE() << name;
    return {};
  }
  std::vector<float> out(tensor->elements());
  model.read(*tensor, out);
  return out;
}

TEST(Llama2c, LegacyLayout) {
  const TempDir dir;
  const Llama2cModel model(put_file(dir / "m.bin", legacy()));
  EXPECT_EQ(model.config().head_dim(), 4);
  EXPECT_TRUE(model.config().shared_classifier);
  EXPECT_EQ(model.tensors().size(), 2u + 2 * 9);
  EXPECT_EQ(model.find("lm_head.weight"), nullptr);
  EXPECT_EQ(values(model, "model.embed_tokens.weight")[0], 0);
  EXPECT_EQ(values(model, "model.layers.1.input_layernorm.weight")[0], 48);
  EXPECT_EQ(values(model, "model.layers.0.self_attn.v_proj.weight")[0], 56 + 128 + 64);
  EXPECT_EQ(values(model, "model.layers.1.self_attn.o_proj.weight")[5], 56 + 128 + 64 + 64 + 64 + 5);
  EXPECT_EQ(values(model, "model.layers.0.post_attention_layernorm.weight")[0], 440);
  EXPECT_EQ(values(model, "model.layers.0.mlp.gate_proj.weight")[0], 456);
  EXPECT_EQ(values(model, "model.layers.0.mlp.down_proj.weight")[0], 504);
  EXPECT_EQ(values(model, "model.layers.1.mlp.up_proj.weight")[0], 576);
  EXPECT_EQ(values(model, "model.norm.weight")[7], 607);
  EXPECT_EQ(model.find("model.layers.0.mlp.down_proj.weight")->shape, (std::vector<uint64_t>{8, 3}));
  EXPECT_EQ(model.find("model.layers.0.self_attn.k_proj.weight")->shape, (std::vector<uint64_t>{4, 8}));
}

TEST(Llama2c, QueryAndKeyRowsComeInHalves) {
  const TempDir dir;
  const Llama2cModel model(put_file(dir / "m.bin", legacy()));
  const auto rows = [](const std::vector<float>& data, float first) {
    std::vector<int> order;
    for (size_t i = 0; i < data.size(); i += 8) order.push_back(static_cast<int>((data[i] - first) / 8));
    return order;
  };
  EXPECT_EQ(rows(values(model, "model.layers.0.self_attn.q_proj.weight"), 56),
            (std::vector<int>{0, 2, 1, 3, 4, 6, 5, 7}));
  EXPECT_EQ(rows(values(model, "model.layers.1.self_attn.k_proj.weight"), 56 + 128 + 32),
            (std::vector<int>{0, 2, 1, 3}));
  EXPECT_EQ(rows(values(model, "model.layers.0.self_attn.v_proj.weight"), 248),
            (std::vector<int>{0, 1, 2, 3}));
}

// Attention scores must not depend on the layout: rotate q and k in each convention and compare the products.
TEST(Llama2c, ReorderedRowsWithHalfSplitRotationGiveTheSameScores) {
  const TempDir dir;
  std::string file = ints({8, 3, 2, 2, 1, 5, 6});
  for (size_t i = 0; i < kParameters + 24; ++i) {
    const float value = std::sin(static_cast<float>(i) * 1.7f);
    file.append(reinterpret_cast<const char*>(&value), 4);
  }
  const Llama2cModel model(put_file(dir / "m.bin", file));
  std::vector<float> raw(kParameters);
  std::memcpy(raw.data(), file.data() + 28, raw.size() * 4);
  const auto q = values(model, "model.layers.0.self_attn.q_proj.weight");
  const auto k = values(model, "model.layers.0.self_attn.k_proj.weight");
  const auto project = [](const float* matrix, int row, int seed) {
    double sum = 0;
    for (int i = 0; i < 8; ++i) sum += static_cast<double>(matrix[row * 8 + i]) * std::cos(seed + 0.9 * i);
    return sum;
  };
  const auto rotated = [&](const float* matrix, int seed, int position, bool halves) {
    std::vector<double> out(4);
    for (int i = 0; i < 2; ++i) {
      const int a = halves ? i : 2 * i, b = halves ? i + 2 : 2 * i + 1;
      const double angle = position * std::pow(10000.0, -2.0 * i / 4);
      const double x = project(matrix, a, seed), y = project(matrix, b, seed);
      out[static_cast<size_t>(a)] = x * std::cos(angle) - y * std::sin(angle);
      out[static_cast<size_t>(b)] = x * std::sin(angle) + y * std::cos(angle);
    }
    return out;
  };
  const auto score = [&](const float* query, const float* key, bool halves) {
    const auto a = rotated(query, 1, 5, halves), b = rotated(key, 2, 2, halves);
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2] + a[3] * b[3];
  };
  for (int head = 0; head < 2; ++head) {
    const double expected = score(raw.data() + 56 + head * 32, raw.data() + 56 + 128, false);
    EXPECT_NEAR(score(q.data() + head * 32, k.data(), true), expected, 1e-12);
    EXPECT_GT(std::abs(expected), 1e-3);
  }
}

TEST(Llama2c, NegativeVocabularyMeansASeparateClassifier) {
  const TempDir dir;
  const Llama2cModel model(put_file(dir / "m.bin", legacy(-5, 6 * 4 + 40)));
  EXPECT_FALSE(model.config().shared_classifier);
  EXPECT_EQ(model.config().vocab_size, 5);
  EXPECT_EQ(values(model, "lm_head.weight")[0], static_cast<float>(kParameters + 24));
}

TEST(Llama2c, VersionOneLayout) {
  const TempDir dir;
  const auto file = [](int32_t version, char shared, size_t extra = 0) {
    std::string text = ints({0x616b3432, version, 8, 3, 2, 2, 1, 5, 6}) + shared;
    text.resize(256, '\0');
    return text + floats(kParameters + extra);
  };
  const Llama2cModel model(put_file(dir / "m.bin", file(1, 1)));
  EXPECT_EQ(values(model, "model.layers.0.input_layernorm.weight")[0], 0);
  EXPECT_EQ(values(model, "model.layers.1.post_attention_layernorm.weight")[0], 24);
  EXPECT_EQ(values(model, "model.norm.weight")[0], 32);
  EXPECT_EQ(values(model, "model.embed_tokens.weight")[0], 40);
  EXPECT_EQ(values(model, "model.layers.0.self_attn.q_proj.weight")[8], 80 + 16);
  EXPECT_EQ(values(model, "model.layers.1.mlp.up_proj.weight")[23], static_cast<float>(kParameters - 1));
  const Llama2cModel separate(put_file(dir / "s.bin", file(1, 0, 40)));
  EXPECT_EQ(values(separate, "lm_head.weight")[0], static_cast<float>(kParameters));
  expect_contains(error_of([&] { Llama2cModel(put_file(dir / "2.bin", file(2, 1))); }, ExitCode::unsupported),
                  "version 2");
  expect_contains(error_of([&] { Llama2cModel(put_file(dir / "f.bin", file(1, 7))); }), "expected 0 or 1");
  expect_contains(error_of([&] { Llama2cModel(put_file(dir / "t.bin", file(1, 1).substr(0, 200))); }),
                  "too few");
}

TEST(Llama2c, BadFilesAreRefusedWithASentence) {
  const TempDir dir;
  const std::string path = dir / "bad.bin";
  const auto message = [&](const std::string& content) {
    put_file(path, content);
    const std::string text = error_of([&] { Llama2cModel model(path); });
    expect_contains(text, path);
    return text;
  };
  const int32_t most = 2147483647, least = -most - 1;
  expect_contains(message(""), "too few");
  expect_contains(message(legacy().substr(0, 27)), "too few");
  expect_contains(message(legacy().substr(0, 2000)), "bytes follow the header, expected");
  expect_contains(message(legacy() + "x"), "bytes follow the header, expected");
  expect_contains(message(ints({8, 3, 2, 2, 0, 5, 6})), "n_kv_heads is 0");
  expect_contains(message(ints({-8, 3, 2, 2, 1, 5, 6})), "dim is -8");
  expect_contains(message(ints({8, 3, 2, 2, 1, 0, 6})), "vocab_size is 0");
  expect_contains(message(ints({8, 3, 2, 3, 1, 5, 6})), "does not split into 3 heads");
  expect_contains(message(ints({6, 3, 2, 2, 1, 5, 6})), "even size");
  expect_contains(message(ints({8, 3, 2, 4, 3, 5, 6})), "no multiple of n_kv_heads 3");
  expect_contains(message(ints({8, 3, most, 2, 1, 5, 6})), "bytes follow the header");
  expect_contains(message(ints({most - 1, most, most, 1, 1, least, most})), "more than 2^64");
}

TEST(Llama2c, LoadsARealModel) {
  const auto path = shared_data("model-stories260K/stories260K.bin");
  if (!path) GTEST_SKIP() << "shared data not at hand";
  const Llama2cModel model(*path);
  const Llama2cConfig& config = model.config();
  EXPECT_EQ(config.dim, 64);
  EXPECT_EQ(config.hidden_dim, 172);
  EXPECT_EQ(config.n_layers, 5);
  EXPECT_EQ(config.n_heads, 8);
  EXPECT_EQ(config.n_kv_heads, 4);
  EXPECT_EQ(config.vocab_size, 512);
  EXPECT_EQ(config.max_seq_len, 512);
  EXPECT_TRUE(config.shared_classifier);
  EXPECT_EQ(model.find("model.layers.4.mlp.down_proj.weight")->shape, (std::vector<uint64_t>{64, 172}));
  EXPECT_EQ(model.find("model.layers.4.self_attn.k_proj.weight")->shape, (std::vector<uint64_t>{32, 64}));
  for (const float gain : values(model, "model.norm.weight")) {
    EXPECT_TRUE(gain > 0.1f && gain < 30.0f) << gain;  // trained norm gains: anything else is misplaced data
  }
}

}  // namespace
}  // namespace octavo
