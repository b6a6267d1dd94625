// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/loss.h"

#include <algorithm>
#include <limits>

#include "octavo/kernels/registry.h"
#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

/// -log softmax in double.
double loss_of(const std::vector<double>& x, size_t target) {
  double most = x[0], sum = 0;
  for (const double v : x) most = std::max(most, v);
  for (const double v : x) sum += std::exp(v - most);
  return std::log(sum) + most - x[target];
}

TEST(CrossEntropy, AgainstDifferences) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16})
      for (const int64_t vocab : {1, 2, 15, 64, 257}) {
        SCOPED_TRACE(testing::Message() << to_string(format) << ' ' << vocab);
        const int64_t rows = 4;
        const TestMatrix x = TestMatrix(format, rows, vocab, 3).fill(5, 4, 20);
        TestMatrix gradient = x;
        std::vector<int32_t> targets(4);
        for (size_t r = 0; r < 4; ++r)
          targets[r] = static_cast<int32_t>((r * 31 + 14) % static_cast<size_t>(vocab));
        targets[2] = kIgnoreTarget;
        std::vector<float> losses(4), only(4);
        cross_entropy(gradient, targets.data(), losses.data(), true, 0.125f, pool);
        EXPECT_TRUE(gradient.padding_intact());
        TestMatrix untouched = x;
        cross_entropy(untouched, targets.data(), only.data(), false, 0.125f, pool);
        EXPECT_EQ(untouched.memory(), x.memory());
        EXPECT_EQ(only, losses);
        EXPECT_EQ(losses[2], 0);
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<double> logits(static_cast<size_t>(vocab));
          for (size_t c = 0; c < logits.size(); ++c) logits[c] = x.get(r, static_cast<int64_t>(c));
          if (r == 2) {
            for (int64_t c = 0; c < vocab; ++c) ASSERT_EQ(gradient.get(r, c), 0);
            continue;
          }
          const size_t target = static_cast<size_t>(targets[static_cast<size_t>(r)]);
          const double expected = loss_of(logits, target);
          ASSERT_NEAR(losses[static_cast<size_t>(r)], expected, 1e-6 * (1 + expected));
          for (size_t c = 0; c < logits.size(); ++c) {
            const double at = logits[c];
            logits[c] = at + 1e-5;
            const double up = loss_of(logits, target);
            logits[c] = at - 1e-5;
            const double g = (up - loss_of(logits, target)) / 2e-5 * 0.125;
            logits[c] = at;
            ASSERT_NEAR(
                gradient.get(r, static_cast<int64_t>(c)), g,
                1e-8 + 1e-6 * std::fabs(g) + (format == Format::bf16 ? 0.51 * step_at(format, g) : 0));
          }
        }
      }
  });
}

// The exponential under all of this, alone: all magnitudes and both ends.
TEST(SoftmaxKernels, ExpToOneUnitInTheLastPlace) {
  for_each_isa([] {
    const int64_t n = 400000;
    TestMatrix x(Format::fp32, 1, n + 9);
    for (int64_t i = 0; i < n; ++i)
      x.set(0, i,
            static_cast<float>(-87.33 + static_cast<double>(i) * (88.72 + 87.33) / static_cast<double>(n)));
    const float infinity = std::numeric_limits<float>::infinity();
    const float special[] = {0, -0.0f, 1e-30f, -200, -infinity, 89, 3e38f, infinity, std::nanf("")};
    for (int64_t i = 0; i < 9; ++i) x.set(0, n + i, special[i]);
    TestMatrix y = x;
    const Matrix view = y;
    row_kernels().softmax_apply({view.data, false}, n + 9, 0, 1);
    double worst = 0;
    for (int64_t i = 0; i < n; ++i) {
      const double expected = std::exp(double{x.get(0, i)});
      worst = std::max(worst, std::fabs(y.get(0, i) - expected) / step_at(Format::fp32, expected));
    }
    EXPECT_LT(worst, 1.1);
    const float expected[] = {1, 1, 1, 0, 0, infinity, infinity, infinity};
    for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(y.get(0, n + i), expected[i]) << special[i];
    EXPECT_TRUE(std::isnan(y.get(0, n + 8)));
  });
}

TEST(CrossEntropy, LargeVocabularyAndAnyTeam) {
  const int64_t vocab = 50257, rows = 5;
  const std::vector<int32_t> targets{0, 50256, 17, 40000, 3};
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16}) {
      const TestMatrix x = TestMatrix(format, rows, vocab).fill(6, 3);
      std::vector<uint8_t> first;
      std::vector<float> first_losses;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        TestMatrix gradient = x;
        std::vector<float> losses(5);
        cross_entropy(gradient, targets.data(), losses.data(), true, 1, pool);
        if (threads == 1) {
          first = gradient.memory();
          first_losses = losses;
        }
        EXPECT_EQ(gradient.memory(), first);
        EXPECT_EQ(losses, first_losses);
        if (threads != 1 || format != Format::fp32) continue;
        for (int64_t r = 0; r < rows; ++r) {
          std::vector<double> logits(static_cast<size_t>(vocab));
          for (size_t c = 0; c < logits.size(); ++c) logits[c] = x.get(r, static_cast<int64_t>(c));
          const double expected = loss_of(logits, static_cast<size_t>(targets[static_cast<size_t>(r)]));
          EXPECT_NEAR(losses[static_cast<size_t>(r)], expected, 2e-6 * expected);
          double sum = 0;
          for (int64_t c = 0; c < vocab; ++c) sum += gradient.get(r, c);
          EXPECT_NEAR(sum, 0, 1e-6);
        }
      }
    }
  });
}

TEST(CrossEntropy, MaskedExtremeAndBrokenRows) {
  ThreadPool pool(1);
  const float infinity = std::numeric_limits<float>::infinity();
  for_each_isa([&] {
    TestMatrix x = TestMatrix(Format::fp32, 4, 70).fill(2);
    for (int64_t c = 1; c < 70; ++c) x.set(0, c, c == 69 ? 1.0f : -infinity);
    x.set(0, 0, 1);
    for (int64_t c = 0; c < 70; ++c) x.set(1, c, c == 30 ? 3e38f : -3e38f);
    x.set(2, 69, std::numeric_limits<float>::quiet_NaN());
    x.set(3, 5, infinity);
    const std::vector<int32_t> targets{69, 30, 0, 0};
    std::vector<float> losses(4);
    cross_entropy(x, targets.data(), losses.data(), true, 1, pool);
    EXPECT_NEAR(losses[0], std::log(2.0), 1e-7);
    EXPECT_EQ(x.get(0, 0), 0.5f);
    EXPECT_EQ(x.get(0, 69), -0.5f);
    EXPECT_EQ(x.get(0, 33), 0);
    EXPECT_EQ(losses[1], 0);
    EXPECT_EQ(x.get(1, 30), 0);
    EXPECT_EQ(x.get(1, 31), 0);
    EXPECT_TRUE(std::isnan(losses[2]));
    EXPECT_TRUE(std::isnan(losses[3]));
  });
}

TEST(LogitStatistics, LogSumAndFirstOfTheLargest) {
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16})
      for (const int64_t vocab : {1, 15, 64, 257}) {
        SCOPED_TRACE(testing::Message() << to_string(format) << ' ' << vocab);
        TestMatrix x = TestMatrix(format, 5, vocab, 3).fill(7, 4, 20);
        x.set(2, vocab / 2, 100);
        x.set(2, vocab - 1, 100);
        x.set(4, vocab - 1, std::numeric_limits<float>::quiet_NaN());
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          std::vector<double> log_sum(5);
          std::vector<int32_t> best(5);
          logit_statistics(x, log_sum.data(), best.data(), pool);
          EXPECT_TRUE(std::isnan(log_sum[4]));
          EXPECT_EQ(best[2], vocab / 2);
          for (int64_t r = 0; r < 4; ++r) {
            std::vector<double> logits;
            for (int64_t c = 0; c < vocab; ++c) logits.push_back(x.get(r, c));
            const size_t at = static_cast<size_t>(r);
            EXPECT_EQ(best[at], std::max_element(logits.begin(), logits.end()) - logits.begin());
            EXPECT_NEAR(log_sum[at] - logits[0], loss_of(logits, 0), 1e-6 * (1 + std::fabs(log_sum[at])));
            EXPECT_EQ(logit_at(x, r, vocab - 1), x.get(r, vocab - 1));
          }
        }
      }
  });
}

TEST(KlDivergence, ByItsDefinition) {
  ThreadPool pool(2);
  const int64_t vocab = 33;
  const TestMatrix p = TestMatrix(Format::fp32, 3, vocab, 2).fill(8, 2);
  TestMatrix q = TestMatrix(Format::bf16, 3, vocab).fill(9, 2, 50);
  std::vector<double> found(3), own(3);
  kl_divergence(p, q, found.data(), pool);
  kl_divergence(p, p, own.data(), pool);
  for (int64_t r = 0; r < 3; ++r) {
    std::vector<double> a, b;
    for (int64_t c = 0; c < vocab; ++c) {
      a.push_back(p.get(r, c));
      b.push_back(q.get(r, c));
    }
    double expected = 0;
    for (size_t c = 0; c < a.size(); ++c)
      expected += std::exp(-loss_of(a, c)) * (loss_of(b, c) - loss_of(a, c));
    EXPECT_NEAR(found[static_cast<size_t>(r)], expected, 1e-12);
    EXPECT_GT(expected, 0.1);
    EXPECT_EQ(own[static_cast<size_t>(r)], 0);
  }
  // A token that is impossible under p costs nothing, one that is impossible under q everything.
  TestMatrix impossible = p;
  impossible.set(0, 4, -std::numeric_limits<float>::infinity());
  kl_divergence(impossible, q, found.data(), pool);
  EXPECT_TRUE(std::isfinite(found[0]));
  kl_divergence(p, impossible, found.data(), pool);
  EXPECT_TRUE(std::isinf(found[0]));
  EXPECT_EQ(found[1], 0);
}

}  // namespace
}  // namespace octavo
