// SPDX-License-Identifier: Apache-2.0
// What must hold at the edges (far scores, NaN, refusals) and bit for bit (any team, unseen keys).
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "octavo/base/error.h"
#include "tests/kernels/attention_problem.h"

namespace octavo {
namespace {

std::vector<Isa> all_isas(const AttentionShape& shape, Format format) {
  std::vector<Isa> list = fast_isas(shape, format);
  list.push_back(Isa::scalar);
  return list;
}

class AttentionEdges : public testing::TestWithParam<Format> {};
INSTANTIATE_TEST_SUITE_P(Formats, AttentionEdges, testing::Values(Format::fp32, Format::bf16),
                         [](const auto& format) { return std::string(to_string(format.param)); });

// Scores far apart: nothing may overflow, and a softmax close to one-hot stays one.
TEST_P(AttentionEdges, LargeScores) {
  for (int64_t q_len : {1, 100}) {
    AttentionShape shape = square(q_len, 2, 1, 64);
    shape.kv_len = 100;
    if (q_len != shape.kv_len) shape.kv_batch_stride = 100;
    const float size =
        35.0f;  // q · k / 8 has a standard deviation of size^2 = 1225, and rows a top of up to 1e4
    shape.scale = 1.0f;
    Problem ref(shape, GetParam(), size);
    {
      IsaScope scope(Isa::scalar);
      ref.forward();
    }
    EXPECT_GE(*std::max_element(ref.lse.begin(), ref.lse.end()), 1e4f);
    for (Isa isa : all_isas(shape, GetParam())) {
      IsaScope scope(isa);
      Problem p(shape, GetParam(), size);
      p.forward();
      for (size_t i = 0; i < p.lse.size(); ++i) ASSERT_NEAR(p.lse[i], ref.lse[i], 0.02) << describe(p, isa);
      EXPECT_LE(excess(p.out, ref.out, GetParam(), 0.01), 1.0) << describe(p, isa);
      if (q_len != shape.kv_len) continue;
      p.backward();
      for (int64_t r = 0; r < p.dqkv.rows(); ++r)
        for (int64_t c = 0; c < p.dqkv.cols(); ++c)
          ASSERT_TRUE(std::isfinite(p.dqkv.at(r, c))) << describe(p, isa);
    }
  }
}

TEST_P(AttentionEdges, SameBitsForAnyTeam) {
  for (const AttentionShape& problem :
       {shape_of("b2h6k3t200d48"), shape_of("b2h6k1t200d48"), root(shape_of("b2h6k3t200d48"))})
    for (Isa isa : all_isas(problem, GetParam())) {
      IsaScope scope(isa);
      AttentionShape shape = problem;
      if (isa == Isa::scalar) shape.q_len = shape.kv_len = 33;
      Problem one(shape, GetParam());
      one.forward(1);
      one.backward(1);
      for (int threads : {2, 3}) {
        Problem p(shape, GetParam());
        p.forward(threads);
        p.backward(threads);
        EXPECT_EQ(p.out.raw(), one.out.raw()) << describe(p, isa) << " threads " << threads;
        EXPECT_EQ(p.lse, one.lse) << describe(p, isa) << " threads " << threads;
        EXPECT_EQ(p.amax, one.amax) << describe(p, isa) << " threads " << threads;
        EXPECT_EQ(p.dqkv.raw(), one.dqkv.raw()) << describe(p, isa) << " threads " << threads;
      }
    }
}

// What a query gives may not depend on one bit of a later token.
TEST_P(AttentionEdges, LaterKeysChangeNothing) {
  struct Cut {
    int64_t length, first;
  };
  for (const Cut& cut :
       {Cut{140, 1}, Cut{140, 31}, Cut{140, 64}, Cut{140, 100}, Cut{140, 135}, Cut{4, 1}, Cut{4, 3}}) {
    const AttentionShape shape = square(cut.length, 4, 2, 32);
    for (Isa isa : all_isas(shape, GetParam())) {
      IsaScope scope(isa);
      Problem a(shape, GetParam()), b(shape, GetParam());
      std::mt19937 rng(99);
      std::normal_distribution<float> normal(0.0f, 5.0f);
      for (int64_t r = cut.first; r < cut.length; ++r)
        for (int64_t c = 0; c < b.qkv.cols(); ++c) b.qkv.set(r, c, normal(rng));
      a.forward();
      b.forward();
      bool later_rows_differ = false;
      for (int64_t r = 0; r < cut.length; ++r)
        for (int64_t c = 0; c < a.out.cols(); ++c) {
          if (r >= cut.first)
            later_rows_differ |= a.out.at(r, c) != b.out.at(r, c);
          else
            ASSERT_EQ(a.out.at(r, c), b.out.at(r, c))
                << describe(a, isa) << " row " << r << " cut " << cut.first;
        }
      EXPECT_TRUE(later_rows_differ);
    }
  }
}

// With one order, queries may come in any parts: here the last of those that training has at once.
TEST_P(AttentionEdges, OneOrderGivesAFewQueriesTheBitsOfMany) {
  for (const auto& [heads, kv_heads, head_dim] :
       {std::array{3, 3, 32}, std::array{6, 2, 23}, std::array{9, 1, 64}, std::array{9, 1, 48}}) {
    AttentionShape whole = square(301, heads, kv_heads, head_dim);
    whole.sqrt_softmax = head_dim == 64;
    for (Isa isa : all_isas(whole, GetParam())) {
      IsaScope scope(isa);
      Problem many(whole, GetParam());
      many.forward(2);
      for (const int64_t kv_len : {1, 2, 31, 64, 97, 256, 301})
        for (const int64_t q_len : {1, 2, 3, 9, 40}) {
          if (q_len > kv_len) continue;
          AttentionShape part = whole;
          part.q_len = q_len;
          part.kv_len = kv_len;
          part.kv_batch_stride = 301;
          part.one_order = true;
          Problem few(part, GetParam());
          for (int64_t r = 0; r < 301; ++r)
            for (int64_t c = 0; c < few.kv_cols(); ++c) {
              few.cache_k.set(r, c, many.qkv.at(r, many.q_cols() + c));
              few.cache_v.set(r, c, many.qkv.at(r, many.q_cols() + many.kv_cols() + c));
            }
          for (int64_t r = 0; r < q_len; ++r)
            for (int64_t c = 0; c < few.q_cols(); ++c) few.qkv.set(r, c, many.qkv.at(kv_len - q_len + r, c));
          few.forward(2);
          for (int64_t r = 0; r < q_len; ++r)
            for (int64_t c = 0; c < few.q_cols(); ++c)
              ASSERT_EQ(few.out.at(r, c), many.out.at(kv_len - q_len + r, c)) << describe(few, isa);
          for (int64_t h = 0; h < heads; ++h)
            for (int64_t r = 0; r < q_len; ++r)
              ASSERT_EQ(few.lse[static_cast<size_t>(h * q_len + r)],
                        many.lse[static_cast<size_t>(h * 301 + kv_len - q_len + r)])
                  << describe(few, isa);
        }
    }
  }
}

TEST_P(AttentionEdges, NotANumberReachesAmax) {
  for (int64_t q_len : {40, 1}) {
    AttentionShape shape = square(q_len, 2, 2, 16);
    shape.kv_len = 40;
    shape.kv_batch_stride = 40;
    for (Isa isa : all_isas(shape, GetParam()))
      for (int64_t part : {0, 1, 2}) {
        IsaScope scope(isa);
        Problem p(shape, GetParam());
        const float nan = std::numeric_limits<float>::quiet_NaN();
        if (part == 0)
          p.qkv.set(q_len - 1, 3, nan);
        else
          (part == 1 ? p.cache_k : p.cache_v).set(20, 3, nan);
        p.forward(2);
        EXPECT_TRUE(std::isnan(p.amax)) << describe(p, isa) << " part " << part;
        EXPECT_TRUE(std::isnan(p.out.at(q_len - 1, 3))) << describe(p, isa) << " part " << part;
      }
  }
}

/// A sum and how far rounding each of its terms (by 2^-9 of it at most) may move it: four times the standard
/// deviation of independent errors.
struct Sum {
  double value = 0, squares = 0;
  void add(double x) {
    value += x;
    squares += x * x;
  }
  double moved_by() const { return 4 * 0x1p-9 * std::sqrt(squares); }
};

/// dq of some rows and dk, dv of some keys of the first sequence, from the formula in double, with what the
/// backward pass is given of the forward one. Each may be off by a small part of the largest number, and what
/// rounding does.
void expect_gradients_here_and_there(Problem& p, Isa isa) {
  const AttentionShape& s = p.shape;
  const int64_t d = s.head_dim, group = s.heads / s.kv_heads;
  const double slack = 1e-5 * largest(p.dqkv), rounds = rounds_probabilities(isa) ? 1 : 0;
  const auto dot = [&](const Padded& a, int64_t i, int64_t from, const Padded& b, int64_t j, int64_t other) {
    double sum = 0;
    for (int64_t c = 0; c < d; ++c) sum += static_cast<double>(a.at(i, from + c)) * b.at(j, other + c);
    return sum;
  };
  struct Pair {
    double p, ds;
  };
  const auto pair = [&](int64_t i, int64_t h, int64_t j) {
    const int64_t k = p.q_cols() + h / group * d, v = k + p.kv_cols();
    const double x =
        std::exp(s.scale * dot(p.qkv, i, h * d, p.qkv, j, k) - p.lse[static_cast<size_t>(h * s.q_len + i)]);
    return Pair{x, x * (dot(p.dout, i, h * d, p.qkv, j, v) - dot(p.dout, i, h * d, p.out, i, h * d))};
  };
  const auto expect = [&](int64_t row, int64_t first, const std::vector<Sum>& sums) {
    for (int64_t c = 0; c < d; ++c) {
      const Sum& sum = sums[static_cast<size_t>(c)];
      ASSERT_NEAR(p.dqkv.at(row, first + c), sum.value,
                  slack + 0x1p-8 * std::abs(sum.value) + rounds * sum.moved_by())
          << describe(p, isa) << " row " << row << " column " << first + c;
    }
  };
  for (int64_t at : {int64_t{0}, int64_t{1}, s.q_len / 3, s.q_len / 2, s.q_len - 200, s.q_len - 1}) {
    for (int64_t h = 0; h < s.heads; ++h) {
      std::vector<Sum> dq(static_cast<size_t>(d));
      for (int64_t j = 0; j <= at; ++j) {
        const double ds = s.scale * pair(at, h, j).ds;
        for (int64_t c = 0; c < d; ++c)
          dq[static_cast<size_t>(c)].add(ds * p.qkv.at(j, p.q_cols() + h / group * d + c));
      }
      expect(at, h * d, dq);
    }
    for (int64_t kv = 0; kv < s.kv_heads; ++kv) {
      std::vector<Sum> dk(static_cast<size_t>(d)), dv(static_cast<size_t>(d));
      for (int64_t h = kv * group; h < (kv + 1) * group; ++h)
        for (int64_t i = at; i < s.q_len; ++i) {
          const Pair x = pair(i, h, at);
          for (int64_t c = 0; c < d; ++c) {
            dk[static_cast<size_t>(c)].add(s.scale * x.ds * p.qkv.at(i, h * d + c));
            dv[static_cast<size_t>(c)].add(x.p * p.dout.at(i, h * d + c));
          }
        }
      expect(at, p.q_cols() + kv * d, dk);
      expect(at, p.q_cols() + p.kv_cols() + kv * d, dv);
    }
  }
}

// Sums of thousands of tiles wait in the results, in both orders of the loops.
TEST_P(AttentionEdges, LongSequences) {
  for (const char* problem : {"b1h1k1t8192d8", "b1h2k1t4100d16", "b1h4k1t4096d8", "b1h3k1t8192d8"})
    for (Isa isa : fast_isas(shape_of(problem), GetParam())) {
      IsaScope scope(isa);
      Problem p(shape_of(problem), GetParam());
      p.forward(2);
      p.backward(2);
      expect_gradients_here_and_there(p, isa);
    }
}

TEST(AttentionCall, WorkspaceDoesNotGrowWithTheLength) {
  const size_t size = attention_workspace(shape_of("b1h8k2t4096d64"), 2);
  EXPECT_EQ(attention_workspace(shape_of("b1h8k2t8192d64"), 2), size);
  EXPECT_EQ(attention_workspace(shape_of("b3h8k2t1000000d64"), 2), size);
  EXPECT_LE(size, size_t{4} << 20);
}

TEST(AttentionCall, ProblemStrings) {
  const AttentionShape s = shape_of("b4h12k3t1024d64");
  EXPECT_EQ(s.batch, 4);
  EXPECT_EQ(s.heads, 12);
  EXPECT_EQ(s.kv_heads, 3);
  EXPECT_EQ(s.q_len, 1024);
  EXPECT_EQ(s.kv_len, 1024);
  EXPECT_EQ(s.head_dim, 64);
  EXPECT_EQ(s.scale, 0.125f);
  EXPECT_EQ(to_string(s), "b4h12k3t1024d64");
  // Two tokens: the first query sees one key, the second two.
  EXPECT_EQ(attention_forward_flops(shape_of("b2h3k1t2d5")), 2 * 2 * 2.0 * 3 * 3 * 5);
  EXPECT_EQ(attention_backward_flops(shape_of("b2h3k1t2d5")), 5 * 2 * 2.0 * 3 * 3 * 5);
  for (const char* wrong : {"", "b1h1k1t1", "b1h1k1t1d", "b1h1k1t1d8 ", "b1h4k3t1d8", "b0h1k1t1d8",
                            "b1h-1k1t1d8", "b1h1t1k1d8", "b1h1k1t99999999999999999999d8"})
    EXPECT_THROW(shape_of(wrong), Error) << wrong;
}

TEST(AttentionCall, OptionalOutputs) {
  Problem p(square(20, 2, 2, 16), Format::fp32), q = p;
  p.forward();
  ThreadPool pool(1);
  std::vector<char> memory(attention_workspace(q.shape, 1) + 64);
  Workspace workspace(Problem::aligned(memory), memory.size() - 64);
  attention_forward(q.shape, q.q(), q.k(), q.v(), q.out.view(), nullptr, nullptr, pool, workspace);
  EXPECT_EQ(p.out.raw(), q.out.raw());
  EXPECT_EQ(workspace.mark(), 0u);
}

TEST(AttentionCall, PlanningCountsWhatRunningTakes) {
  Problem p(square(100, 4, 2, 64), Format::bf16);
  ThreadPool pool(2);
  Workspace plan;
  attention_forward(p.shape, p.q(), p.k(), p.v(), p.out.view(), nullptr, nullptr, pool, plan);
  EXPECT_EQ(plan.high_water(), attention_workspace(p.shape, 2));
  AttentionShape decode = square(1, 4, 2, 64);
  decode.kv_len = 100;
  const size_t small = attention_workspace(decode, 2);
  decode.kv_len = 1000000;
  EXPECT_EQ(attention_workspace(decode, 2), small);
}

TEST(AttentionCall, ImpossibleRequests) {
  EXPECT_THROW(attention_workspace(square(10, 6, 4, 8), 1), Error);
  Problem p(square(10, 2, 2, 8), Format::bf16);
  ThreadPool pool(1);
  std::vector<char> memory(attention_workspace(p.shape, 1) + 64);
  Workspace workspace(Problem::aligned(memory), memory.size() - 64);
  Matrix q = p.q();
  q.format = Format::fp16;
  EXPECT_THROW(attention_forward(p.shape, q, p.k(), p.v(), p.out.view(), nullptr, nullptr, pool, workspace),
               Error);
}

}  // namespace
}  // namespace octavo
