// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/activation.h"

#include <functional>
#include <limits>

#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

constexpr Activation kAll[] = {Activation::gelu_tanh, Activation::gelu, Activation::relu, Activation::silu};

long double gelu_tanh_argument(long double x) {
  return 0.79788456080286535588L * (x + 0.044715L * x * x * x);
}

/// The textbook formulas, in long double.
long double act(Activation kind, long double x) {
  switch (kind) {
    case Activation::gelu_tanh: {
      const long double u = gelu_tanh_argument(x);
      // 1 + tanh u = 2 / (1 + e^-2u), where nothing cancels.
      return u < -3 ? x / (1 + std::exp(-2 * u)) : 0.5L * x * (1 + std::tanh(u));
    }
    case Activation::gelu:
      return 0.5L * x * std::erfc(-x * 0.70710678118654752440L);
    case Activation::relu:
      return x > 0 ? x : 0;
    case Activation::silu:
      return x / (1 + std::exp(-x));
  }
  return 0;
}
double slope(Activation kind, double x) {
  const long double step = 1e-6L;
  return static_cast<double>((act(kind, x + step) - act(kind, x - step)) / (2 * step));
}

TestMatrix inputs(Format format, int64_t rows, int64_t cols) {
  TestMatrix x(format, rows, cols, 3);
  x.fill(7, 3);
  const float special[] = {0, -0.0f, 1e-30f, -1e-6f, 12, -12, 40, -40, 100, -100, 3e4f, -3e4f};
  for (int64_t i = 0; i < 12 && i < cols; ++i) x.set(0, i, special[i]);
  return x;
}

/// A few FP32 units in the last place of the value; the smallest normal times x where the sigmoid was cut to
/// 0.
double tolerance(Format format, double value, double x) {
  return 6 * step_at(Format::fp32, value) + (format == Format::bf16 ? 0.5 * step_at(format, value) : 0) +
         std::fabs(x) * 2e-38;
}

TEST(Activation, ForwardAgainstFormulas) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Activation kind : kAll)
      for (const Format format : {Format::fp32, Format::bf16})
        for (const int64_t cols : {1, 15, 64, 131, 1000})
          for (const bool gated : {false, true}) {
            SCOPED_TRACE(testing::Message()
                         << static_cast<int>(kind) << ' ' << to_string(format) << ' ' << cols);
            const TestMatrix x = inputs(format, 4, cols), up = TestMatrix(format, 4, cols, 1).fill(8);
            TestMatrix y(format, 4, cols, 2);
            float amax = 0;
            activation_forward(kind, x, gated ? ConstMatrix(up) : ConstMatrix(), y, &amax, pool);
            EXPECT_TRUE(y.padding_intact());
            EXPECT_EQ(amax, y.largest());
            for (int64_t r = 0; r < 4; ++r)
              for (int64_t c = 0; c < cols; ++c) {
                double value = static_cast<double>(act(kind, x.get(r, c)));
                if (gated) value *= up.get(r, c);
                // Where e^2u is all there is, its relative error is the absolute one of 2u, a cubic in FP32.
                const double v = x.get(r, c), exponent = 2 * static_cast<double>(gelu_tanh_argument(v));
                const double units = kind == Activation::gelu_tanh && v < 0 ? 3 * std::fabs(exponent) : 0;
                ASSERT_NEAR(y.get(r, c), value,
                            tolerance(format, value, v) + units * step_at(Format::fp32, value))
                    << "x " << v;
              }
          }
  });
}

TEST(Activation, BackwardAgainstDifferences) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Activation kind : kAll)
      for (const Format format : {Format::fp32, Format::bf16})
        for (const bool gated : {false, true}) {
          SCOPED_TRACE(testing::Message() << static_cast<int>(kind) << ' ' << to_string(format));
          const int64_t cols = 333;
          TestMatrix x = TestMatrix(format, 5, cols, 3).fill(7, 3);
          const TestMatrix up = TestMatrix(format, 5, cols, 1).fill(8),
                           dy = TestMatrix(format, 5, cols, 4).fill(9);
          TestMatrix dx(format, 5, cols, 2), dup(format, 5, cols, 1);
          float amax_dx = 0, amax_dup = 0;
          activation_backward(kind, dy, x, gated ? ConstMatrix(up) : ConstMatrix(), dx,
                              gated ? Matrix(dup) : Matrix(), &amax_dx, &amax_dup, {}, pool);
          EXPECT_TRUE(dx.padding_intact());
          EXPECT_EQ(amax_dx, dx.largest());
          EXPECT_EQ(amax_dup, gated ? dup.largest() : 0);
          for (int64_t r = 0; r < 5; ++r)
            for (int64_t c = 0; c < cols; ++c) {
              const double v = x.get(r, c), d = dy.get(r, c), u = gated ? up.get(r, c) : 1;
              const double expected = d * u * slope(kind, v);
              const double rounding = format == Format::bf16 ? 0.5 : 0;
              ASSERT_NEAR(dx.get(r, c), expected,
                          rounding * step_at(format, expected) + 1e-6 * std::fabs(d * u))
                  << v;
              if (!gated) continue;
              const double g = d * static_cast<double>(act(kind, v));
              ASSERT_NEAR(dup.get(r, c), g, rounding * step_at(format, g) + 1e-6 * std::fabs(d * v)) << v;
            }
        }
  });
}

TEST(Activation, SpecialNumbers) {
  ThreadPool pool(1);
  const float infinity = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  for_each_isa([&] {
    for (const Activation kind : kAll) {
      TestMatrix x(Format::fp32, 1, 3), y(Format::fp32, 1, 3), dx(Format::fp32, 1, 3);
      x.set(0, 0, infinity);
      x.set(0, 1, nan);
      x.set(0, 2, 1);
      float amax = 0;
      activation_forward(kind, x, {}, y, &amax, pool);
      EXPECT_EQ(y.get(0, 0), infinity);
      EXPECT_TRUE(std::isnan(y.get(0, 1)));
      EXPECT_TRUE(std::isnan(amax));
      x.set(0, 0, 0);
      const TestMatrix dy = TestMatrix(Format::fp32, 1, 3).fill(1);
      activation_backward(kind, dy, x, {}, dx, {}, nullptr, nullptr, {}, pool);
      EXPECT_EQ(dx.get(0, 0), kind == Activation::relu ? 0 : 0.5f * dy.get(0, 0));
    }
  });
}

/// Codes of y by one rule, from a matrix that is in memory.
TestMatrix codes_of(const TestMatrix& y, const CodesOut& rule, ThreadPool& pool) {
  TestMatrix codes(rule.codes.format, y.rows(), y.cols(), 3);
  QuantizeArgs args{.x = y, .out = rule};
  args.out.codes = codes;
  quantize(args, pool);
  return codes;
}

TEST(Activation, CodesWithoutTheValuesAreTheSame) {
  const float scale = 1.0f / 64;
  for_each_isa([&] {
    for (const Activation kind : kAll)
      for (const Format format : {Format::fp32, Format::bf16})
        for (const Format code : {Format::e4m3, Format::e5m2fnuz, Format::bf16, Format::fp32})
          for (const bool gated : {false, true}) {
            const bool plain = code == Format::bf16 || code == Format::fp32;
            if (plain && code != format) continue;
            ThreadPool pool(2);
            const int64_t cols = 2500;  // more than one stretch
            const TestMatrix x = TestMatrix(format, 5, cols, 3).fill(7, 3),
                             dy = TestMatrix(format, 5, cols).fill(9);
            TestMatrix up = TestMatrix(format, 5, cols, 1).fill(8);
            const ConstMatrix gate = gated ? ConstMatrix(up) : ConstMatrix();
            TestMatrix y(format, 5, cols), dx(format, 5, cols), dup(format, 5, cols), codes(code, 5, cols, 3),
                again(code, 5, cols, 3), dx2(format, 5, cols), dup2(format, 5, cols);
            float amax = 0, amax_codes = 0;
            activation_forward(kind, x, gate, y, &amax, pool);
            CodesOut rule{.codes = codes, .scale = &scale, .rounding = Rounding::stochastic, .seed = 5};
            const TestMatrix expected = codes_of(y, rule, pool);
            activation_quantize(kind, x, gate, rule, &amax_codes, pool);
            EXPECT_EQ(codes.memory(), expected.memory());
            EXPECT_EQ(amax_codes, amax);
            activation_backward(kind, dy, x, gate, dx, gated ? Matrix(dup) : Matrix(), nullptr, nullptr, {},
                                pool);
            rule.codes = again;
            // In place, as training does it: the hidden gradient gives way to that of the gate.
            dx2 = dy;
            activation_backward(kind, dx2, x, gate, dx2, gated ? Matrix(dup2) : Matrix(), nullptr, nullptr,
                                rule, pool);
            EXPECT_EQ(again.memory(), expected.memory());
            EXPECT_EQ(dx2.memory(), dx.memory());
            if (gated) {
              EXPECT_EQ(dup2.memory(), dup.memory());
            }
          }
  });
}

TEST(Activation, InPlaceAndAnyTeam) {
  for_each_isa([&] {
    for (const Format format : {Format::fp32, Format::bf16}) {
      const TestMatrix x = TestMatrix(format, 41, 777).fill(1, 2), up = TestMatrix(format, 41, 777).fill(2);
      const TestMatrix dy = TestMatrix(format, 41, 777).fill(3);
      for (const Activation kind : kAll) {
        std::vector<uint8_t> y_first, dx_first, dup_first;
        for (const int threads : {1, 2, 3}) {
          ThreadPool pool(threads);
          TestMatrix y(format, 41, 777), dx(format, 41, 777), dup(format, 41, 777);
          activation_forward(kind, x, up, y, nullptr, pool);
          activation_backward(kind, dy, x, up, dx, dup, nullptr, nullptr, {}, pool);
          if (threads == 1) {
            y_first = y.memory();
            dx_first = dx.memory();
            dup_first = dup.memory();
          }
          EXPECT_EQ(y.memory(), y_first);
          EXPECT_EQ(dx.memory(), dx_first);
          EXPECT_EQ(dup.memory(), dup_first);
          TestMatrix over_x = x, over_dy = dy, over_up = up;
          activation_backward(kind, over_dy, x, up, over_dy, dup, nullptr, nullptr, {}, pool);
          EXPECT_EQ(over_dy.memory(), dx_first);
          activation_backward(kind, dy, over_x, over_up, over_x, over_up, nullptr, nullptr, {}, pool);
          EXPECT_EQ(over_x.memory(), dx_first);
          EXPECT_EQ(over_up.memory(), dup_first);
        }
      }
    }
  });
}

}  // namespace
}  // namespace octavo
