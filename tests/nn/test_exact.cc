// SPDX-License-Identifier: Apache-2.0
// Exact inference: the bits of the training forward pass, however the tokens come in.
#include <algorithm>
#include <random>

#include "nn_testing.h"
#include "octavo/numerics/bf16.h"
#include "tests/isa_scope.h"

namespace octavo {
namespace {

/// Those that compute differently and that this machine has.
std::vector<Isa> isas() {
  std::vector<Isa> all;
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx})
    if (isa <= max_isa()) all.push_back(isa);
  return all;
}

/// Logits of the rows of the last read(), [rows, vocab].
std::vector<float> logits_of_rows(Transformer& model, const std::vector<int64_t>& rows) {
  const int64_t vocab = model.config().vocab_size;
  std::vector<float> all(rows.size() * static_cast<size_t>(vocab));
  model.row_logits(rows, [&](int64_t first, ConstMatrix logits) {
    for (int64_t r = 0; r < logits.rows; ++r)
      for (int64_t v = 0; v < vocab; ++v) {
        const void* at = logits.row(r) + v * bytes(logits.format);
        all[static_cast<size_t>((first + r) * vocab + v)] =
            logits.format == Format::fp32 ? *static_cast<const float*>(at)
                                          : bf16_to_float(*static_cast<const uint16_t*>(at));
      }
  });
  return all;
}
std::vector<float> read_logits(Transformer& model, const TestBatch& b) {
  model.read(b.view());
  std::vector<int64_t> rows(static_cast<size_t>(b.batch * b.seq));
  for (size_t r = 0; r < rows.size(); ++r) rows[r] = static_cast<int64_t>(r);
  return logits_of_rows(model, rows);
}

struct Server {
  ThreadPool pool;
  Transformer model;
  Server(TestModel& from, const Limits& limits, int threads = 1)
      : pool(threads), model(from.model.config(), from.model.recipe(), Purpose::inference, pool) {
    model.allocate(limits);
    for (Parameter& p : from.model.parameters().all())
      model.set_parameter(*model.parameters().find(p.name), p.value);
  }
  /// Feeds all sequences side by side in pieces drawn from [1, most]. The largest difference of logits from
  /// the expected ones; -1 where even a bit differs without that (a sign of zero).
  double feed(const TestBatch& b, int64_t most, const std::vector<float>& expected, std::mt19937& rng) {
    const int64_t vocab = model.config().vocab_size;
    model.reset_cache();
    double worst = 0;
    for (int64_t at = 0; at < b.seq;) {
      const int64_t drawn = std::uniform_int_distribution<int64_t>(1, most)(rng);
      const int64_t count = std::min({drawn, model.limits().seq, b.seq - at});
      std::vector<int32_t> tokens;
      for (int64_t s = 0; s < b.batch; ++s)
        for (int64_t t = at; t < at + count; ++t)
          tokens.push_back(b.tokens[static_cast<size_t>(s * b.seq + t)]);
      const std::span<const float> logits = model.step(b.batch, count, tokens.data());
      at += count;
      for (int64_t s = 0; s < b.batch; ++s) {
        const float* want = expected.data() + (s * b.seq + at - 1) * vocab;
        const float* got = logits.data() + s * vocab;
        for (int64_t v = 0; v < vocab; ++v)
          worst = std::max(worst, std::abs(static_cast<double>(got[v]) - static_cast<double>(want[v])));
        if (worst == 0 && !std::equal(got, got + vocab, want)) return -1;
      }
    }
    return worst;
  }
};

ModelConfig shaped(ModelConfig c, int64_t width, int64_t heads, int64_t kv_heads, int64_t head_dim,
                   int64_t ffn, int64_t context) {
  c.width = width;
  c.heads = heads;
  c.kv_heads = kv_heads;
  c.head_dim = head_dim;
  c.ffn = ffn;
  c.context = context;
  return c;
}

/// Widths that are no multiple of a vector, groups of one, three and eight heads, more tokens than a tile has
/// rows or keys.
std::vector<ModelConfig> shapes() {
  return {tiny_gpt2(),
          tiny_gpt2(false),
          tiny_llama(),
          shaped(tiny_gpt2(), 69, 3, 3, 23, 131, 140),
          shaped(tiny_gpt2(), 64, 2, 2, 32, 256, 40),
          shaped(tiny_llama(), 58, 8, 1, 16, 150, 101),
          shaped(tiny_llama(true), 44, 3, 1, 26, 90, 130),
          shaped(tiny_llama(), 96, 4, 4, 64, 224, 33)};
}

// fp8-row has a scale of its own for each token, found in that token alone.
constexpr const char* kRecipes[] = {"bf16", "fp32", "fp8-cscale", "fp8-row"};

/// Random numbers of sequences, tokens and pieces for one model: all ways in give the logits of the training
/// pass.
void expect_exact(const char* recipe, const ModelConfig& config, std::mt19937& rng) {
  const auto draw = [&](int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(rng);
  };
  const int64_t sequences = draw(1, 5), seq = draw(2, config.context), most = draw(2, 40);
  const bool packed = draw(0, 1) == 1;
  SCOPED_TRACE(testing::Message() << to_string(max_isa()) << " " << recipe << " " << to_string(config.family)
                                  << " width " << config.width << ", " << sequences << " x " << seq
                                  << ", pieces up to " << most << (packed ? ", packed" : ""));
  const TestBatch batch(config, sequences, seq);
  TestModel source(config, recipe, {sequences, seq, 0}, 1);
  const std::vector<float> expected = read_logits(source.model, batch);

  Server server(source, {sequences, std::min(most, seq), seq, {}, packed, true}, draw(0, 3) == 0 ? 2 : 1);
  EXPECT_EQ(server.feed(batch, 1, expected, rng), 0) << "token by token";
  EXPECT_EQ(server.feed(batch, most, expected, rng), 0) << "in pieces";

  Server reader(source, {sequences, seq, 0, {}, !packed, true});
  EXPECT_EQ(read_logits(reader.model, batch), expected) << "read at once";
  // A sequence alone, shorter than all, and a few of its rows.
  const int64_t one = draw(0, sequences - 1);
  const TestBatch alone = batch.part(one, 1);
  const int64_t length = draw(1, seq), row = draw(0, length - 1);
  reader.model.read({1, length, alone.tokens.data(), alone.positions.data()});
  const auto begin = expected.begin() + (one * seq + row) * config.vocab_size;
  EXPECT_EQ(logits_of_rows(reader.model, {row}), std::vector<float>(begin, begin + config.vocab_size))
      << "row " << row << " of " << length;
}

TEST(Exact, EveryWayInHasTheBitsOfTheTrainingForwardPass) {
  std::mt19937 rng(7);
  size_t turn = 0;
  for (const Isa isa : isas()) {
    const IsaScope scope(isa);
    for (const char* recipe : kRecipes)
      for (const ModelConfig& config : shapes()) {
        if (++turn % 3 != 0) continue;  // every shape with every recipe under some instruction set
        // The reference kernels are slow, and there is one order only.
        if (isa == Isa::scalar && config.context > 40) continue;
        expect_exact(recipe, config, rng);
      }
  }
}

// FP8 training and FP8 serving of a muS model (W8A8) are the same function (arXiv:2502.05967).
TEST(Exact, MunitOverRandomShapes) {
  std::mt19937 rng(19);
  const auto draw = [&](int64_t from, int64_t to) {
    return std::uniform_int_distribution<int64_t>(from, to)(rng);
  };
  EXPECT_TRUE(load_recipe("munit").needs_unit_scaled_model());
  for (const Isa isa : isas()) {
    const IsaScope scope(isa);
    for (int turn = 0; turn < (isa == Isa::scalar ? 2 : 6); ++turn) {
      const int64_t heads = draw(1, 5), head_dim = 2 * draw(4, 24);
      ModelConfig config = shaped(tiny_octavo(), draw(20, 130), heads, heads, head_dim, draw(20, 300),
                                  isa == Isa::scalar ? 30 : draw(20, 150));
      config.layers = draw(1, 4);
      config.final_norm = draw(0, 1) == 1;
      config.learned_positions = draw(0, 3) == 0;
      config.activation = static_cast<Activation>(draw(0, 3));
      expect_exact("munit", config, rng);
    }
  }
}

TEST(Exact, OneSequenceOfManyHasTheSameBits) {
  const ModelConfig config = shaped(tiny_llama(), 52, 4, 2, 16, 100, 60);
  std::mt19937 rng(3);
  for (const char* recipe : kRecipes) {
    const TestBatch batch(config, 5, 60);
    TestModel source(config, recipe, {5, 60, 0}, 1);
    const std::vector<float> expected = read_logits(source.model, batch);
    Server server(source, {1, 17, 60, {}, false, true});
    for (int64_t s = 0; s < batch.batch; ++s) {
      const auto begin = expected.begin() + s * 60 * config.vocab_size;
      const std::vector<float> own(begin, begin + 60 * config.vocab_size);
      EXPECT_EQ(server.feed(batch.part(s, 1), 9, own, rng), 0) << recipe << " sequence " << s;
    }
  }
}

// What the mode is for: without it the kernels for a few rows sum in another order.
TEST(Exact, WithoutItAFewRowsHaveOtherBits) {
  if (max_isa() < Isa::avx512) GTEST_SKIP() << "one order only";
  const ModelConfig config = shaped(tiny_gpt2(), 96, 3, 3, 32, 384, 60);
  const TestBatch batch(config, 1, 60);
  TestModel source(config, "fp32", {1, 60, 0});
  const std::vector<float> expected = read_logits(source.model, batch);
  std::mt19937 rng(3);
  EXPECT_NE(Server(source, {1, 60, 60}).feed(batch, 1, expected, rng), 0);
}

// Training has the order always: a token's loss does not depend on how few tokens there are.
TEST(Exact, TrainingOfAFewRowsSumsLikeThatOfMany) {
  const ModelConfig config = shaped(tiny_gpt2(), 96, 3, 3, 32, 384, 60);
  const TestBatch batch(config, 3, 60);
  for (const char* recipe : kRecipes) {
    TestModel source(config, recipe, {3, 60, 0});
    const std::vector<float> expected = read_logits(source.model, batch);
    source.model.read({1, 5, batch.tokens.data(), batch.positions.data()});
    EXPECT_EQ(logits_of_rows(source.model, {0, 1, 2, 3, 4}),
              std::vector<float>(expected.begin(), expected.begin() + 5 * config.vocab_size))
        << recipe;
  }
}

}  // namespace
}  // namespace octavo
