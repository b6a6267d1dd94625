// SPDX-License-Identifier: Apache-2.0
// What must hold at the edges (far scores, NaN, refusals) and bit for bit (any team, unseen keys).
#include <gtest/gtest.h>

#include <algorithm>
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
  for (Isa isa : all_isas(square(200, 6, 3, 48, 2), GetParam())) {
    IsaScope scope(isa);
    const AttentionShape shape = square(isa == Isa::scalar ? 33 : 200, 6, 3, 48, 2);
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
