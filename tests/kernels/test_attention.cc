// SPDX-License-Identifier: Apache-2.0
// Every variant against ref, and ref against formulas written once more here.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/kernels/attention_problem.h"

namespace octavo {
namespace {

/// What rounding each probability to BF16 (by 2^-8 of it) may change: the same of a mean of |v|. Then both
/// results are stored.
void expect_forward_within_rounding(Problem& p, Problem& ref, Isa isa) {
  Problem mean = ref;
  const int64_t first = mean.fused ? mean.q_cols() + mean.kv_cols() : 0;
  Padded& v = mean.fused ? mean.qkv : mean.cache_v;
  for (int64_t r = 0; r < v.rows(); ++r)
    for (int64_t c = first; c < first + mean.kv_cols(); ++c) v.set(r, c, std::abs(v.at(r, c)));
  {
    IsaScope scope(Isa::scalar);
    mean.forward();
  }
  for (int64_t r = 0; r < p.out.rows(); ++r)
    for (int64_t c = 0; c < p.out.cols(); ++c) {
      const double x = p.out.at(r, c), y = ref.out.at(r, c);
      ASSERT_NEAR(x, y, (0x1p-8 + 1e-5) * mean.out.at(r, c) + 0x1p-8 * (std::abs(x) + std::abs(y)))
          << describe(p, isa) << " row " << r << " column " << c;
    }
}

void expect_forward_like_ref(const AttentionShape& shape, Format format) {
  Problem ref(shape, format);
  {
    IsaScope scope(Isa::scalar);
    ref.forward();
  }
  for (Isa isa : fast_isas(shape, format)) {
    Problem p(shape, format);
    {
      IsaScope scope(isa);
      p.forward(2);
    }
    if (rounds_probabilities(isa))
      expect_forward_within_rounding(p, ref, isa);
    else
      EXPECT_LE(excess(p.out, ref.out, format, 2e-6), 1.0) << describe(p, isa);
    EXPECT_TRUE(p.out.guards_intact()) << describe(p, isa);
    for (size_t i = 0; i < p.lse.size(); ++i)
      ASSERT_NEAR(p.lse[i], ref.lse[i], rounds_probabilities(isa) ? 8e-6 : 4e-6)
          << describe(p, isa) << " row " << i;
    EXPECT_EQ(p.amax, largest(p.out)) << describe(p, isa);
  }
}

/// Gradients from BF16 probabilities and score gradients: as a whole within two roundings, each of 2^-8 at
/// most and about half of that on average, and no row off by more than a small part of the largest one.
void expect_gradient_within_rounding(Problem& p, Problem& ref, int64_t first, int64_t cols, Isa isa) {
  double error = 0, norm = 0, worst_row = 0, largest_row = 0;
  for (int64_t r = 0; r < p.dqkv.rows(); ++r) {
    double row_error = 0, row_norm = 0;
    for (int64_t c = first; c < first + cols; ++c) {
      const double x = p.dqkv.at(r, c), y = ref.dqkv.at(r, c);
      row_error += (x - y) * (x - y);
      row_norm += y * y;
    }
    ASSERT_FALSE(std::isnan(row_error)) << describe(p, isa) << " row " << r;
    error += row_error;
    norm += row_norm;
    worst_row = std::max(worst_row, row_error);
    largest_row = std::max(largest_row, row_norm);
  }
  EXPECT_LE(std::sqrt(error), 0x1p-8 * std::sqrt(norm) + 1e-30)
      << describe(p, isa) << " from column " << first;
  EXPECT_LE(std::sqrt(worst_row), 0x1p-7 * std::sqrt(largest_row) + 1e-30)
      << describe(p, isa) << " from column " << first;
}

void expect_backward_like_ref(const AttentionShape& shape, Format format) {
  Problem ref(shape, format);
  {
    IsaScope scope(Isa::scalar);
    ref.forward();
    ref.backward();
  }
  for (Isa isa : fast_isas(shape, format)) {
    Problem p(shape, format);
    p.out = ref.out;
    p.lse = ref.lse;
    IsaScope scope(isa);
    p.backward(2);
    if (rounds_probabilities(isa)) {
      expect_gradient_within_rounding(p, ref, 0, p.q_cols(), isa);
      expect_gradient_within_rounding(p, ref, p.q_cols(), p.kv_cols(), isa);
      expect_gradient_within_rounding(p, ref, p.q_cols() + p.kv_cols(), p.kv_cols(), isa);
    } else {
      EXPECT_LE(excess(p.dqkv, ref.dqkv, format, 4e-6), 1.0) << describe(p, isa);
    }
    EXPECT_TRUE(p.dqkv.guards_intact()) << describe(p, isa);
  }
}

/// Attention of one sequence in double; x is q, k and v one after the other, each row-major.
std::vector<double> attention(const AttentionShape& s, const std::vector<double>& x) {
  const int64_t group = s.heads / s.kv_heads, q_cols = s.heads * s.head_dim,
                kv_cols = s.kv_heads * s.head_dim;
  const double *q = x.data(), *k = q + s.q_len * q_cols, *v = k + s.kv_len * kv_cols;
  std::vector<double> out(static_cast<size_t>(s.q_len * q_cols));
  for (int64_t h = 0; h < s.heads; ++h)
    for (int64_t i = 0; i < s.q_len; ++i) {
      std::vector<double> p;
      double total = 0;
      for (int64_t j = 0; j <= i + s.kv_len - s.q_len; ++j) {
        double score = 0;
        for (int64_t d = 0; d < s.head_dim; ++d)
          score += q[i * q_cols + h * s.head_dim + d] * k[j * kv_cols + h / group * s.head_dim + d];
        p.push_back(std::exp(score * s.scale));
        total += p.back();
      }
      if (s.sqrt_softmax) {
        for (double& weight : p) weight = std::sqrt(weight);
        total = std::sqrt(total);
      }
      for (int64_t d = 0; d < s.head_dim; ++d) {
        double sum = 0;
        for (size_t j = 0; j < p.size(); ++j)
          sum += p[j] / total * v[static_cast<int64_t>(j) * kv_cols + h / group * s.head_dim + d];
        out[static_cast<size_t>(i * q_cols + h * s.head_dim + d)] = sum;
      }
    }
  return out;
}

std::vector<double> inputs_of(Problem& p) {
  std::vector<double> x;
  const int64_t kv_rows = p.shape.kv_len;
  for (int64_t r = 0; r < p.shape.q_len; ++r)
    for (int64_t c = 0; c < p.q_cols(); ++c) x.push_back(p.qkv.at(r, c));
  for (int part = 0; part < 2; ++part)
    for (int64_t r = 0; r < kv_rows; ++r)
      for (int64_t c = 0; c < p.kv_cols(); ++c)
        x.push_back(p.fused ? p.qkv.at(r, p.q_cols() + part * p.kv_cols() + c)
                            : (part ? p.cache_v : p.cache_k).at(r, c));
  return x;
}

TEST(Attention, RunsTheBestVariant) {
  const AttentionShape many = square(20, 2, 2, 64);
  IsaScope scope(Isa::scalar);
  EXPECT_STREQ(attention_variant(many, Format::bf16), "ref");
  set_max_isa(cpu_isa());
  if (cpu_isa() < Isa::avx2 || fast_isas(many, Format::fp32).empty()) GTEST_SKIP() << "only ref here";
  const char* vectors = cpu_isa() >= Isa::avx512 ? "avx512" : "avx2";
  EXPECT_STREQ(attention_variant(many, Format::fp32), vectors);
  EXPECT_EQ(fast_isas(many, Format::fp32).size(), cpu_isa() >= Isa::avx512 ? 2u : 1u);
  EXPECT_STREQ(attention_variant(many, Format::bf16),
               cpu_isa() >= Isa::avx512bf16 ? to_string(cpu_isa()) : vectors);

  AttentionShape decode = many, wide = square(20, 2, 2, 288), negative = many;
  decode.q_len = 1;
  negative.scale = -1;
  AttentionShape root = many;
  root.sqrt_softmax = true;
  for (const AttentionShape& shape : {decode, wide, negative, root})
    EXPECT_STREQ(attention_variant(shape, Format::bf16), vectors);
}

TEST(Attention, RefFollowsTheFormula) {
  IsaScope scope(Isa::scalar);
  AttentionShape cached = square(3, 6, 2, 5);
  cached.kv_len = 9;
  for (const AttentionShape& shape : {square(9, 4, 2, 6), square(20, 3, 3, 8), square(1, 1, 1, 4), cached,
                                      root(square(9, 4, 2, 6)), root(square(20, 3, 3, 8)), root(cached)}) {
    Problem p(shape, Format::fp32);
    p.forward();
    const std::vector<double> expected = attention(p.shape, inputs_of(p));
    float amax = 0;
    for (int64_t r = 0; r < p.out.rows(); ++r)
      for (int64_t c = 0; c < p.out.cols(); ++c) {
        EXPECT_NEAR(p.out.at(r, c), expected[static_cast<size_t>(r * p.out.cols() + c)], 1e-6);
        amax = std::max(amax, std::abs(p.out.at(r, c)));
      }
    EXPECT_EQ(p.amax, amax);
  }
}

TEST(Attention, RefGradientIsThatOfTheFormula) {
  IsaScope scope(Isa::scalar);
  for (const AttentionShape& shape : {square(7, 4, 2, 6), square(5, 2, 2, 3), square(6, 3, 1, 4),
                                      root(square(7, 4, 2, 6)), root(square(6, 3, 1, 4))}) {
    Problem p(shape, Format::fp32);
    p.forward();
    p.backward();
    const std::vector<double> x = inputs_of(p);
    const auto loss = [&](const std::vector<double>& at) {
      const std::vector<double> out = attention(p.shape, at);
      double sum = 0;
      for (size_t i = 0; i < out.size(); ++i)
        sum += out[i] *
               p.dout.at(static_cast<int64_t>(i) / p.out.cols(), static_cast<int64_t>(i) % p.out.cols());
      return sum;
    };
    for (size_t i = 0; i < x.size(); ++i) {
      std::vector<double> up = x, down = x;
      const double step = 1e-4;
      up[i] += step;
      down[i] -= step;
      const int64_t index = static_cast<int64_t>(i), q_size = shape.q_len * p.q_cols(),
                    kv_size = shape.kv_len * p.kv_cols();
      int64_t row = index / p.q_cols(), col = index % p.q_cols();
      if (index >= q_size) {
        const int64_t part = (index - q_size) / kv_size, rest = (index - q_size) % kv_size;
        row = rest / p.kv_cols();
        col = p.q_cols() + part * p.kv_cols() + rest % p.kv_cols();
      }
      EXPECT_NEAR(p.dqkv.at(row, col), (loss(up) - loss(down)) / (2 * step), 2e-6) << "input " << i;
    }
  }
}

struct Heads {
  int64_t heads, kv_heads;
};
constexpr Heads kHeads[] = {{1, 1}, {4, 4}, {8, 2}, {6, 1}};
constexpr int64_t kLengths[] = {1, 2, 7, 33, 64, 65, 130, 257};

class AttentionFormats : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, AttentionFormats, testing::Values(Format::fp32, Format::bf16),
                         [](const auto& format) { return std::string(to_string(format.param)); });

TEST_P(AttentionFormats, ForwardEqualsRef) {
  for (int64_t head_dim : {8, 16, 32, 64, 80, 128})
    for (int64_t length : kLengths)
      for (const Heads& h : kHeads)
        if (length * head_dim * h.heads <= 40000)
          expect_forward_like_ref(square(length, h.heads, h.kv_heads, head_dim), GetParam());
  expect_forward_like_ref(square(257, 4, 2, 128, 2), GetParam());
  expect_forward_like_ref(square(300, 3, 1, 32), GetParam());
}

TEST_P(AttentionFormats, BackwardEqualsRef) {
  for (int64_t head_dim : {8, 16, 32, 64, 80, 128})
    for (int64_t length : kLengths)
      for (const Heads& h : kHeads)
        if (length * length * head_dim * h.heads <= 600000)
          expect_backward_like_ref(square(length, h.heads, h.kv_heads, head_dim), GetParam());
  expect_backward_like_ref(square(257, 2, 1, 64), GetParam());
  expect_backward_like_ref(square(130, 3, 1, 128, 2), GetParam());
}

// Lengths around the sizes of tiles and panels (64, 96, 192, 256, 288), groups that divide no tile, groups
// larger than one.
TEST_P(AttentionFormats, EdgesOfTiles) {
  for (const char* problem :
       {"b1h2k2t95d48", "b1h2k2t97d16", "b2h1k1t191d16", "b1h2k1t193d48", "b1h1k1t255d64", "b1h1k1t289d80",
        "b1h3k1t129d64", "b1h5k1t77d48", "b2h10k2t39d128", "b1h12k4t160d16", "b1h7k1t290d8", "b1h70k1t5d16",
        "b1h200k1t4d8", "b1h394k2t3d20"}) {
    expect_forward_like_ref(shape_of(problem), GetParam());
    expect_backward_like_ref(shape_of(problem), GetParam());
  }
}

TEST_P(AttentionFormats, UnusualHeadDims) {
  for (int64_t head_dim : {1, 5, 20, 33, 96, 256, 260}) {
    expect_forward_like_ref(square(70, 2, 1, head_dim, 2), GetParam());
    expect_backward_like_ref(square(70, 2, 1, head_dim, 2), GetParam());
  }
}

// Square roots of probabilities: tiles, decoding, groups of both ways to keep sums in BF16.
TEST_P(AttentionFormats, SquareRootSoftmaxEqualsRef) {
  for (const char* problem : {"b1h2k2t1d16", "b2h4k4t33d8", "b1h2k2t97d16", "b2h1k1t193d48", "b1h3k1t129d64",
                              "b1h8k2t70d33", "b1h12k4t160d16", "b1h200k1t4d8"}) {
    expect_forward_like_ref(root(shape_of(problem)), GetParam());
    expect_backward_like_ref(root(shape_of(problem)), GetParam());
  }
  for (int64_t q_len : {1, 5, 70}) {
    AttentionShape shape = root(square(q_len, 4, 2, 64, 2));
    shape.kv_len = 200;
    shape.kv_batch_stride = 213;
    expect_forward_like_ref(shape, GetParam());
  }
}

// What it is for: over values of unit variance any number of equal weights gives unit variance.
TEST_P(AttentionFormats, SquareRootSoftmaxKeepsTheVarianceOfValues) {
  AttentionShape shape = root(square(1, 1, 1, 64));
  shape.kv_len = 1000;
  shape.kv_batch_stride = 1000;
  shape.scale = 1e-6f;
  Problem p(shape, GetParam());
  p.forward();
  double squares = 0;
  for (int64_t c = 0; c < 64; ++c) squares += static_cast<double>(p.out.at(0, c)) * p.out.at(0, c);
  EXPECT_NEAR(squares / 64, 1, 4 * std::sqrt(2.0 / 64));  // softmax: 1/1000
}

TEST_P(AttentionFormats, Cache) {
  for (const Heads& h : kHeads)
    for (int64_t q_len : {1, 5, 70})
      for (int64_t kv_len : {70, 96, 200, 301})
        for (int64_t head_dim : {64, 40}) {
          AttentionShape shape = square(q_len, h.heads, h.kv_heads, head_dim, 2);
          shape.kv_len = kv_len;
          shape.kv_batch_stride = kv_len + 13;
          expect_forward_like_ref(shape, GetParam());
        }
}

}  // namespace
}  // namespace octavo
