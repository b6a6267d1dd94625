// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/adamw.h"

#include <algorithm>

#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

struct State {
  std::vector<float> weight, m, v;
  float amax = 0;
};

State run(int64_t n, int steps, int threads) {
  ThreadPool pool(threads);
  State s{random_vector(n, 1), std::vector<float>(static_cast<size_t>(n)),
          std::vector<float>(static_cast<size_t>(n))};
  for (int t = 1; t <= steps; ++t) {
    const std::vector<float> grad = random_vector(n, static_cast<uint64_t>(100 + t), 0.01);
    const AdamWParams params{.lr = 1e-2f,
                             .beta1 = 0.9f,
                             .beta2 = 0.95f,
                             .eps = 1e-8f,
                             .decay = double{1e-2f} * 0.1,
                             .bias_correction1 = static_cast<float>(1 - std::pow(0.9, t)),
                             .bias_correction2 = static_cast<float>(1 - std::pow(0.95, t)),
                             .grad_scale = 0.5f};
    adamw(params, s.weight.data(), grad.data(), s.m.data(), s.v.data(), n, &s.amax, pool);
  }
  return s;
}

TEST(AdamW, AgainstThePaperInDouble) {
  for_each_isa([] {
    constexpr int kSteps = 20;
    const int64_t n = 1003;
    const State s = run(n, kSteps, 2);
    const std::vector<float> start = random_vector(n, 1);
    std::vector<double> w(start.begin(), start.end()), m(w.size()), v(w.size());
    for (int t = 1; t <= kSteps; ++t) {
      const std::vector<float> grad = random_vector(n, static_cast<uint64_t>(100 + t), 0.01);
      for (size_t i = 0; i < w.size(); ++i) {
        const double g = 0.5 * grad[i];
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.95 * v[i] + 0.05 * g * g;
        const double m_hat = m[i] / (1 - std::pow(0.9, t)), v_hat = v[i] / (1 - std::pow(0.95, t));
        w[i] -= 1e-2 * (m_hat / (std::sqrt(v_hat) + 1e-8) + 0.1 * w[i]);
      }
    }
    float largest = 0;
    for (size_t i = 0; i < w.size(); ++i) {
      ASSERT_NEAR(s.weight[i], w[i], 4e-6) << i;
      ASSERT_NEAR(s.m[i], m[i], 1e-8);
      ASSERT_NEAR(s.v[i], v[i], 1e-10);
      largest = std::max(largest, std::fabs(s.weight[i]));
    }
    EXPECT_EQ(s.amax, largest);
  });
}

TEST(AdamW, SameBitsInEveryVariantAndTeam) {
  const int64_t n = 40007;
  set_max_isa(Isa::scalar);
  const State expected = run(n, 5, 1);
  for_each_isa([&] {
    for (const int threads : {1, 2, 3}) {
      const State s = run(n, 5, threads);
      EXPECT_EQ(s.weight, expected.weight);
      EXPECT_EQ(s.m, expected.m);
      EXPECT_EQ(s.v, expected.v);
      EXPECT_EQ(s.amax, expected.amax);
    }
  });
}

TEST(AdamW, NanReachesAmax) {
  for_each_isa([] {
    ThreadPool pool(2);
    std::vector<float> w(50000, 1), g(50000, 0.1f), m(50000), v(50000);
    g[49999] = std::nanf("");
    float amax = 0;
    adamw({.lr = 0.1f}, w.data(), g.data(), m.data(), v.data(), 50000, &amax, pool);
    EXPECT_TRUE(std::isnan(amax));
    EXPECT_FALSE(std::isnan(w[49998]));
  });
}

}  // namespace
}  // namespace octavo
