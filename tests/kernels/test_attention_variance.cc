// SPDX-License-Identifier: Apache-2.0
// The variance of attention over independent unit-variance queries, keys and values, by position
// (arXiv:2502.05967, proposition 2.1): e/k - (e-1)/k^2 for softmax, to first order; 1 for its square roots.
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "octavo/base/buffer.h"
#include "octavo/base/rng.h"
#include "octavo/kernels/attention.h"

namespace octavo {
namespace {

/// Mean over positions [first, last], counted from 1, of variance / expected(position).
double ratio(bool roots, int64_t first, int64_t last, double (*expected)(double)) {
  constexpr int64_t kSeq = 512, kHeads = 16, kDim = 64, kWidth = kHeads * kDim;
  AttentionShape s;
  s.batch = 1;
  s.q_len = s.kv_len = kSeq;
  s.heads = s.kv_heads = kHeads;
  s.head_dim = kDim;
  s.scale = 1 / std::sqrt(static_cast<float>(kDim));
  s.sqrt_softmax = roots;
  std::vector<float> x[4];
  for (uint64_t i = 0; i < 4; ++i) {
    x[i].resize(kSeq * kWidth);
    const Rng rng(9, i);
    for (size_t j = 0; j < x[i].size(); ++j) x[i][j] = static_cast<float>(rng.normal(j));
  }
  ThreadPool pool(2);
  const Buffer memory(attention_workspace(s, pool.size()));
  Workspace workspace(memory.data(), memory.size());
  std::vector<float> lse(kSeq * kHeads);
  const auto matrix = [](std::vector<float>& v) { return dense(v.data(), Format::fp32, kSeq, kWidth); };
  attention_forward(s, matrix(x[0]), matrix(x[1]), matrix(x[2]), matrix(x[3]), lse.data(), nullptr, pool,
                    workspace);
  double sum = 0;
  for (int64_t k = first; k <= last; ++k) {
    double squares = 0;
    for (int64_t c = 0; c < kWidth; ++c) {
      const double v = static_cast<double>(x[3][static_cast<size_t>((k - 1) * kWidth + c)]);
      squares += v * v;
    }
    sum += squares / kWidth / expected(static_cast<double>(k));
  }
  return sum / static_cast<double>(last - first + 1);
}

double first_order(double k) { return std::numbers::e / k - (std::numbers::e - 1) / (k * k); }

TEST(AttentionVariance, OfSoftmaxFallsAsThePaperSays) {
  EXPECT_NEAR(ratio(false, 384, 512, first_order), 1, 0.05);
  EXPECT_NEAR(ratio(false, 192, 256, first_order), 1, 0.08);
  // The formula is of first order: too high where there are few keys.
  EXPECT_LT(ratio(false, 12, 20, first_order), 0.9);
}

TEST(AttentionVariance, OfItsSquareRootsStaysAtOne) {
  const auto one = [](double) { return 1.0; };
  EXPECT_NEAR(ratio(true, 1, 64, one), 1, 0.05);
  EXPECT_NEAR(ratio(true, 256, 512, one), 1, 0.05);
}

}  // namespace
}  // namespace octavo
