// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/lion.h"

#include <algorithm>

#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

constexpr LionParams kParams{.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.99f, .decay = 1e-3, .grad_scale = 0.5f};

struct State {
  std::vector<float> weight, m;
  float amax = 0;
};

State run(int64_t n, int steps, int threads) {
  ThreadPool pool(threads);
  State s{random_vector(n, 1), std::vector<float>(static_cast<size_t>(n))};
  for (int t = 1; t <= steps; ++t) {
    const std::vector<float> grad = random_vector(n, static_cast<uint64_t>(100 + t), 0.01);
    lion(kParams, s.weight.data(), grad.data(), s.m.data(), n, &s.amax, pool);
  }
  return s;
}

TEST(Lion, AgainstThePaperInDouble) {
  for_each_isa([] {
    constexpr int kSteps = 20;
    const int64_t n = 1003;
    const State s = run(n, kSteps, 2);
    const std::vector<float> start = random_vector(n, 1);
    std::vector<double> w(start.begin(), start.end()), m(w.size());
    std::vector<bool> doubtful(w.size());  // where FP32 may see another sign
    for (int t = 1; t <= kSteps; ++t) {
      const std::vector<float> grad = random_vector(n, static_cast<uint64_t>(100 + t), 0.01);
      for (size_t i = 0; i < w.size(); ++i) {
        const double g = 0.5 * grad[i], direction = 0.9 * m[i] + 0.1 * g;
        if (std::fabs(direction) < 1e-9) doubtful[i] = true;
        w[i] -= 1e-3 * w[i] + 1e-2 * (direction > 0 ? 1 : direction < 0 ? -1 : 0);
        m[i] = 0.99 * m[i] + 0.01 * g;
      }
    }
    float largest = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      if (!doubtful[i]) {
        ASSERT_NEAR(s.weight[i], w[i], 4e-6) << i;
      }
      ASSERT_NEAR(s.m[i], m[i], 1e-8);
      largest = std::max(largest, std::fabs(s.weight[i]));
    }
    EXPECT_LT(std::count(doubtful.begin(), doubtful.end(), true), 5);
    EXPECT_EQ(s.amax, largest);
  });
}

TEST(Lion, AWeightWithoutGradientStays) {
  for_each_isa([] {
    ThreadPool pool(1);
    std::vector<float> w(37, 2.0f), g(37), m(37);
    lion({.lr = 0.5f}, w.data(), g.data(), m.data(), 37, nullptr, pool);
    EXPECT_EQ(w, std::vector<float>(37, 2.0f));
  });
}

TEST(Lion, SameBitsInEveryVariantAndTeam) {
  const int64_t n = 40007;
  set_max_isa(Isa::scalar);
  const State expected = run(n, 5, 1);
  for_each_isa([&] {
    for (const int threads : {1, 2, 3}) {
      const State s = run(n, 5, threads);
      EXPECT_EQ(s.weight, expected.weight);
      EXPECT_EQ(s.m, expected.m);
      EXPECT_EQ(s.amax, expected.amax);
    }
  });
}

}  // namespace
}  // namespace octavo
