// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/norm.h"
#include "octavo/kernels/quantize.h"

#include <limits>

#include "octavo/base/buffer.h"
#include "tests/kernels/row_test.h"

namespace octavo {
namespace {

using Doubles = std::vector<double>;

/// y of one row in double.
Doubles norm_row(NormKind kind, const Doubles& x, const std::vector<float>& gamma, const float* beta,
                 double eps) {
  const double n = static_cast<double>(x.size());
  double mean = 0, square = 0;
  if (kind == NormKind::layer)
    for (const double v : x) mean += v / n;
  for (const double v : x) square += (v - mean) * (v - mean) / n;
  Doubles y(x.size());
  for (size_t i = 0; i < x.size(); ++i)
    y[i] = (x[i] - mean) / std::sqrt(square + eps) * gamma[i] + (beta ? beta[i] : 0);
  return y;
}

Doubles row_of(const TestMatrix& m, int64_t r) {
  Doubles v(static_cast<size_t>(m.cols()));
  for (size_t i = 0; i < v.size(); ++i) v[i] = m.get(r, static_cast<int64_t>(i));
  return v;
}

void check_forward(NormKind kind, Format format, Format sum_format, int64_t cols, bool with_residual,
                   bool with_beta) {
  SCOPED_TRACE(testing::Message() << (kind == NormKind::rms ? "rms " : "layer ") << to_string(format) << ' '
                                  << cols);
  ThreadPool pool(2);
  constexpr int64_t kRows = 5;
  const uint64_t seed = static_cast<uint64_t>(cols);
  const TestMatrix x = TestMatrix(format, kRows, cols, 3).fill(seed, 2, 0.5);
  const TestMatrix residual = TestMatrix(sum_format, kRows, cols, 1).fill(seed + 1, 3, -4);
  TestMatrix sum(sum_format, kRows, cols, 2), y(format, kRows, cols, 5);
  const std::vector<float> gamma = random_vector(cols, 3, 0.2, 1), beta = random_vector(cols, 4);
  std::vector<float> mean(kRows), rstd(kRows);
  float amax = 0;
  NormForward args{.kind = kind,
                   .x = x,
                   .y = y,
                   .gamma = gamma.data(),
                   .beta = with_beta ? beta.data() : nullptr,
                   .mean = mean.data(),
                   .rstd = rstd.data(),
                   .amax = &amax};
  if (with_residual) {
    args.residual = residual;
    args.sum = sum;
  }
  norm_forward(args, pool);
  EXPECT_TRUE(y.padding_intact() && sum.padding_intact());
  EXPECT_EQ(amax, y.largest());
  for (int64_t r = 0; r < kRows; ++r) {
    if (with_residual)
      for (int64_t c = 0; c < cols; ++c) {
        const float exact = x.get(r, c) + residual.get(r, c);
        ASSERT_EQ(sum.get(r, c), sum_format == Format::bf16 ? bf16_to_float(bf16_from_float(exact)) : exact);
      }
    const Doubles in = row_of(with_residual ? sum : x, r);
    const Doubles expected = norm_row(kind, in, gamma, args.beta, args.eps);
    double most = 0, m = 0, input = 0;
    for (size_t i = 0; i < in.size(); ++i) {
      most = std::max(most, std::fabs(expected[i]));
      input = std::max(input, std::fabs(in[i]));
      m += in[i] / static_cast<double>(cols);
    }
    // In bf16 one rounding of the result, half a step; what FP32 loses before is small beside it.
    const double tolerance = format == Format::bf16 ? 0.51 : 16;
    for (int64_t c = 0; c < cols; ++c)
      ASSERT_NEAR(y.get(r, c), expected[static_cast<size_t>(c)], tolerance * step_at(format, most))
          << r << ',' << c;
    const size_t at = static_cast<size_t>(r);
    if (kind == NormKind::layer) {
      ASSERT_NEAR(mean[at], m, 4 * step_at(Format::fp32, input));
    }
    double square = 0;
    for (const double v : in)
      square += (v - (kind == NormKind::layer ? m : 0)) * (v - (kind == NormKind::layer ? m : 0));
    const double root = 1 / std::sqrt(square / static_cast<double>(cols) + args.eps);
    ASSERT_NEAR(rstd[at], root, 1e-5 * root);
  }
}

TEST(Norm, ForwardAgainstDouble) {
  for_each_isa([] {
    for (const NormKind kind : {NormKind::layer, NormKind::rms})
      for (const Format format : {Format::fp32, Format::bf16})
        for (const Format sum_format : {Format::fp32, Format::bf16})
          for (const int64_t cols : {2, 7, 16, 33, 65, 100, 768, 1003})
            for (const bool residual : {false, true})
              check_forward(kind, format, sum_format, cols, residual, kind == NormKind::layer && cols != 100);
  });
}

struct Gradients {
  Doubles dx, dgamma, dbeta;
};

/// By central differences of sum(dy * y) in double.
Gradients differences(NormKind kind, const Doubles& x, const Doubles& dy, std::vector<float> gamma) {
  const auto loss = [&](const Doubles& at) {
    const Doubles y = norm_row(kind, at, gamma, nullptr, 1e-5);
    double total = 0;
    for (size_t i = 0; i < y.size(); ++i) total += dy[i] * y[i];
    return total;
  };
  Gradients g{Doubles(x.size()), Doubles(x.size()), dy};
  const std::vector<float> ones(x.size(), 1.0f);
  const Doubles h = norm_row(kind, x, ones, nullptr, 1e-5);
  Doubles moved = x;
  for (size_t i = 0; i < x.size(); ++i) {
    const double step = 1e-5;
    moved[i] = x[i] + step;
    const double up = loss(moved);
    moved[i] = x[i] - step;
    g.dx[i] = (up - loss(moved)) / (2 * step);
    moved[i] = x[i];
    g.dgamma[i] = dy[i] * h[i];
  }
  return g;
}

void check_backward(NormKind kind, Format format, int64_t cols, bool with_residual, bool with_beta) {
  SCOPED_TRACE(testing::Message() << (kind == NormKind::rms ? "rms " : "layer ") << to_string(format) << ' '
                                  << cols);
  ThreadPool pool(2);
  const int64_t rows = 37;
  const uint64_t seed = static_cast<uint64_t>(cols);
  const TestMatrix x = TestMatrix(format, rows, cols, 3).fill(seed, 2, 0.5);
  const TestMatrix dy = TestMatrix(format, rows, cols, 1).fill(seed + 1);
  const TestMatrix around = TestMatrix(format, rows, cols, 4).fill(seed + 2);
  TestMatrix y(format, rows, cols), dx(format, rows, cols, 2);
  const std::vector<float> gamma = random_vector(cols, 3, 0.2, 1);
  std::vector<float> mean(rows), rstd(rows);
  norm_forward(
      {.kind = kind, .x = x, .y = y, .gamma = gamma.data(), .mean = mean.data(), .rstd = rstd.data()}, pool);
  const Buffer memory(norm_backward_workspace(rows, cols));
  Workspace workspace(memory.data(), memory.size());
  std::vector<float> dgamma(static_cast<size_t>(cols), 0.5f), dbeta(static_cast<size_t>(cols), -0.25f);
  NormBackward args{.kind = kind,
                    .dy = dy,
                    .x = x,
                    .gamma = gamma.data(),
                    .mean = mean.data(),
                    .rstd = rstd.data(),
                    .dx = dx,
                    .dgamma = dgamma.data(),
                    .dbeta = with_beta ? dbeta.data() : nullptr};
  if (with_residual) args.residual_grad = around;
  norm_backward(args, pool, workspace);
  EXPECT_TRUE(dx.padding_intact());
  Doubles total_gamma(static_cast<size_t>(cols), 0.5), total_beta(static_cast<size_t>(cols), -0.25);
  for (int64_t r = 0; r < rows; ++r) {
    const Gradients expected = differences(kind, row_of(x, r), row_of(dy, r), gamma);
    double most = 0;
    for (int64_t c = 0; c < cols; ++c)
      most = std::max(
          most, std::fabs(expected.dx[static_cast<size_t>(c)] + (with_residual ? around.get(r, c) : 0)));
    for (int64_t c = 0; c < cols; ++c) {
      const size_t i = static_cast<size_t>(c);
      const double d = expected.dx[i] + (with_residual ? around.get(r, c) : 0);
      ASSERT_NEAR(dx.get(r, c), d,
                  3e-6 * (1 + most) + (format == Format::bf16 ? 0.51 * step_at(format, d) : 0));
      total_gamma[i] += expected.dgamma[i];
      total_beta[i] += expected.dbeta[i];
    }
  }
  for (size_t i = 0; i < gamma.size(); ++i) {
    EXPECT_NEAR(dgamma[i], total_gamma[i], 1e-4);
    EXPECT_NEAR(dbeta[i], with_beta ? total_beta[i] : -0.25, 1e-4);
  }
}

TEST(Norm, FactorsOfTheStreamInFrontOfABranch) {
  for_each_isa([] {
    ThreadPool pool(2);
    constexpr int64_t kRows = 5, kCols = 67;
    const TestMatrix x = TestMatrix(Format::fp32, kRows, kCols).fill(1),
                     branch = TestMatrix(Format::fp32, kRows, kCols).fill(2),
                     around = TestMatrix(Format::fp32, kRows, kCols).fill(4),
                     dy = TestMatrix(Format::fp32, kRows, kCols).fill(5);
    TestMatrix sum(Format::fp32, kRows, kCols), y(Format::fp32, kRows, kCols), dx(Format::fp32, kRows, kCols),
        plain(Format::fp32, kRows, kCols);
    const std::vector<float> gamma = random_vector(kCols, 3, 0.2, 1);
    std::vector<float> mean(kRows), rstd(kRows), dgamma(kCols);
    norm_forward({.x = x,
                  .residual = branch,
                  .x_factor = 0.75f,
                  .sum = sum,
                  .y = y,
                  .gamma = gamma.data(),
                  .mean = mean.data(),
                  .rstd = rstd.data()},
                 pool);
    const Buffer memory(norm_backward_workspace(kRows, kCols));
    Workspace workspace(memory.data(), memory.size());
    NormBackward back{.dy = dy,
                      .x = sum,
                      .gamma = gamma.data(),
                      .mean = mean.data(),
                      .rstd = rstd.data(),
                      .dx = plain,
                      .dgamma = dgamma.data()};
    norm_backward(back, pool, workspace);
    back.dx = dx;
    back.residual_grad = around;
    back.residual_factor = 0.75f;
    norm_backward(back, pool, workspace);
    for (int64_t r = 0; r < kRows; ++r)
      for (int64_t c = 0; c < kCols; ++c) {
        ASSERT_NEAR(sum.get(r, c), 0.75 * x.get(r, c) + branch.get(r, c), 1e-6);
        ASSERT_NEAR(dx.get(r, c), plain.get(r, c) + 0.75 * around.get(r, c), 1e-6);
      }
  });
}

TEST(Norm, BackwardAgainstDifferences) {
  for_each_isa([] {
    for (const NormKind kind : {NormKind::layer, NormKind::rms})
      for (const Format format : {Format::fp32, Format::bf16})
        for (const int64_t cols : {5, 16, 33, 96})
          for (const bool residual : {false, true})
            check_backward(kind, format, cols, residual, kind == NormKind::layer);
  });
}

/// A norm at the end of a branch: y = 0.8 skip + 0.6 norm(x), its codes in the same pass, and back.
TEST(Norm, AddsToAStreamAndBack) {
  for_each_isa([] {
    for (const Format format : {Format::fp32, Format::bf16})
      for (const int64_t cols : {5, 33, 96, 2500}) {
        SCOPED_TRACE(testing::Message() << to_string(format) << ' ' << cols);
        constexpr int64_t kRows = 19;
        ThreadPool pool(2);
        const uint64_t seed = static_cast<uint64_t>(cols);
        const TestMatrix x = TestMatrix(format, kRows, cols, 3).fill(seed, 2, 0.5);
        const TestMatrix skip = TestMatrix(format, kRows, cols, 1).fill(seed + 1);
        TestMatrix y(format, kRows, cols, 2), in_place(format, kRows, cols, 2);
        in_place.fill(seed + 1);
        const std::vector<float> gamma = random_vector(cols, 3, 0.2, 1);
        std::vector<float> mean(kRows), rstd(kRows);
        std::vector<uint8_t> codes(static_cast<size_t>(kRows * cols)), expected_codes(codes.size());
        NormForward args{.x = x,
                         .y = y,
                         .skip = skip,
                         .skip_factor = 0.8f,
                         .y_factor = 0.6f,
                         .gamma = gamma.data(),
                         .mean = mean.data(),
                         .rstd = rstd.data()};
        args.codes.codes = dense(codes.data(), Format::e4m3, kRows, cols);
        norm_forward(args, pool);
        QuantizeArgs cast;
        cast.x = y;
        cast.out.codes = dense(expected_codes.data(), Format::e4m3, kRows, cols);
        quantize(cast, pool);
        EXPECT_EQ(codes, expected_codes);
        args.codes = {};
        args.y = in_place;
        args.skip = in_place;
        norm_forward(args, pool);

        const TestMatrix dy = TestMatrix(format, kRows, cols, 4).fill(seed + 2);
        TestMatrix dx(format, kRows, cols), dstream(format, kRows, cols, 4);
        dstream.fill(seed + 2);
        const Buffer memory(norm_backward_workspace(kRows, cols));
        Workspace workspace(memory.data(), memory.size());
        std::vector<float> dgamma(static_cast<size_t>(cols));
        NormBackward back{.dy = dstream, .x = x, .gamma = gamma.data()};
        back.dy_factor = 0.6f;
        back.dskip = dstream;
        back.skip_factor = 0.8f;
        back.mean = mean.data();
        back.rstd = rstd.data();
        back.dx = dx;
        back.dgamma = dgamma.data();
        norm_backward(back, pool, workspace);
        Doubles total(static_cast<size_t>(cols));
        for (int64_t r = 0; r < kRows; ++r) {
          const Doubles norm = norm_row(NormKind::layer, row_of(x, r), gamma, nullptr, 1e-5);
          Doubles scaled = row_of(dy, r);
          for (double& d : scaled) d *= 0.6;
          const Gradients slope = differences(NormKind::layer, row_of(x, r), scaled, gamma);
          double most = 0;
          for (const double d : slope.dx) most = std::max(most, std::fabs(d));
          for (int64_t c = 0; c < cols; ++c) {
            const size_t i = static_cast<size_t>(c);
            const double sum = 0.8 * skip.get(r, c) + 0.6 * norm[i];
            const double half = format == Format::bf16 ? 0.51 : 16;
            ASSERT_NEAR(y.get(r, c), sum, half * step_at(format, std::max(1.0, std::fabs(sum))));
            ASSERT_EQ(in_place.get(r, c), y.get(r, c));
            ASSERT_NEAR(
                dx.get(r, c), slope.dx[i],
                1e-5 * (1 + most) + (format == Format::bf16 ? 0.51 * step_at(format, slope.dx[i]) : 0));
            const double around = 0.8 * dy.get(r, c);
            ASSERT_NEAR(dstream.get(r, c), around, 0.51 * step_at(format, around) + 1e-7);
            total[i] += slope.dgamma[i];
          }
        }
        for (size_t i = 0; i < total.size(); ++i) EXPECT_NEAR(dgamma[i], total[i], 1e-4);
      }
  });
}

TEST(Norm, SameBitsForAnyTeam) {
  constexpr int64_t kRows = 203, kCols = 333;
  for_each_isa([] {
    for (const Format format : {Format::fp32, Format::bf16}) {
      const TestMatrix x = TestMatrix(format, kRows, kCols, 1).fill(1),
                       dy = TestMatrix(format, kRows, kCols).fill(2);
      const std::vector<float> gamma = random_vector(kCols, 3, 0.2, 1), beta = random_vector(kCols, 4);
      std::vector<float> first_gradients;
      std::vector<uint8_t> first_y, first_dx;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        TestMatrix y(format, kRows, kCols), dx(format, kRows, kCols);
        std::vector<float> mean(kRows), rstd(kRows), gradients(2 * kCols);
        norm_forward({.x = x,
                      .y = y,
                      .gamma = gamma.data(),
                      .beta = beta.data(),
                      .mean = mean.data(),
                      .rstd = rstd.data()},
                     pool);
        const Buffer memory(norm_backward_workspace(kRows, kCols));
        Workspace workspace(memory.data(), memory.size());
        norm_backward({.dy = dy,
                       .x = x,
                       .gamma = gamma.data(),
                       .mean = mean.data(),
                       .rstd = rstd.data(),
                       .dx = dx,
                       .dgamma = gradients.data(),
                       .dbeta = gradients.data() + kCols},
                      pool, workspace);
        if (threads == 1) {
          first_gradients = gradients;
          first_y = y.memory();
          first_dx = dx.memory();
        }
        EXPECT_EQ(gradients, first_gradients);
        EXPECT_EQ(y.memory(), first_y);
        EXPECT_EQ(dx.memory(), first_dx);
      }
    }
  });
}

TEST(Norm, InPlace) {
  ThreadPool pool(2);
  for_each_isa([&] {
    const std::vector<float> gamma = random_vector(50, 3, 0.2, 1);
    TestMatrix x = TestMatrix(Format::bf16, 9, 50).fill(1), other = TestMatrix(Format::bf16, 9, 50).fill(2);
    TestMatrix sum(Format::bf16, 9, 50), y(Format::bf16, 9, 50), y2(Format::bf16, 9, 50);
    std::vector<float> mean(9), rstd(9), dgamma(50), dgamma2(50);
    NormForward args{.x = x,
                     .residual = other,
                     .sum = sum,
                     .y = y,
                     .gamma = gamma.data(),
                     .mean = mean.data(),
                     .rstd = rstd.data()};
    norm_forward(args, pool);
    args.sum = x;
    args.y = y2;
    norm_forward(args, pool);
    EXPECT_EQ(x.memory(), sum.memory());
    EXPECT_EQ(y.memory(), y2.memory());

    const Buffer memory(norm_backward_workspace(9, 50));
    Workspace workspace(memory.data(), memory.size());
    TestMatrix dx(Format::bf16, 9, 50), dy = other;
    NormBackward back{.dy = dy,
                      .x = x,
                      .gamma = gamma.data(),
                      .mean = mean.data(),
                      .rstd = rstd.data(),
                      .residual_grad = y,
                      .dx = dx,
                      .dgamma = dgamma.data()};
    norm_backward(back, pool, workspace);
    back.dx = dy;
    back.dgamma = dgamma2.data();
    norm_backward(back, pool, workspace);
    EXPECT_EQ(dy.memory(), dx.memory());
    EXPECT_EQ(dgamma, dgamma2);
    back.dy = other;
    back.dx = y;
    norm_backward(back, pool, workspace);
    EXPECT_EQ(y.memory(), dx.memory());
  });
}

TEST(Norm, CodesWithoutTheValuesAreTheSame) {
  const float scale = 1.0f / 32;
  const int64_t rows = 19, cols = 2500;  // more than one stretch
  for_each_isa([&] {
    for (const NormKind kind : {NormKind::layer, NormKind::rms})
      for (const Format format : {Format::fp32, Format::bf16})
        for (const bool with_residual : {false, true}) {
          ThreadPool pool(2);
          const std::vector<float> gamma = random_vector(cols, 3, 0.2, 1), beta = random_vector(cols, 4, 0.2);
          const TestMatrix x = TestMatrix(format, rows, cols, 5).fill(1),
                           branch = TestMatrix(format, rows, cols).fill(2);
          TestMatrix sum(format, rows, cols), y(format, rows, cols), expected(Format::e4m3, rows, cols, 2),
              codes(Format::e4m3, rows, cols, 2), again(Format::e4m3, rows, cols, 2), dx(format, rows, cols),
              dx2(format, rows, cols);
          std::vector<float> mean(rows), rstd(rows), dgamma(cols), dgamma2(cols);
          float amax = 0, amax_codes = 0;
          NormForward forward{.kind = kind,
                              .x = x,
                              .residual = with_residual ? ConstMatrix(branch) : ConstMatrix(),
                              .sum = sum,
                              .y = y,
                              .gamma = gamma.data(),
                              .beta = kind == NormKind::layer ? beta.data() : nullptr,
                              .mean = mean.data(),
                              .rstd = rstd.data(),
                              .amax = &amax};
          norm_forward(forward, pool);
          CodesOut rule{.codes = expected, .scale = &scale};
          quantize({.x = y, .out = rule}, pool);
          rule.codes = codes;
          forward.y = {};
          forward.codes = rule;
          forward.amax = &amax_codes;
          norm_forward(forward, pool);
          EXPECT_EQ(codes.memory(), expected.memory());
          EXPECT_EQ(amax_codes, amax);

          const Buffer memory(norm_backward_workspace(rows, cols));
          Workspace workspace(memory.data(), memory.size());
          NormBackward backward{.kind = kind,
                                .dy = branch,
                                .x = with_residual ? ConstMatrix(sum) : ConstMatrix(x),
                                .gamma = gamma.data(),
                                .mean = mean.data(),
                                .rstd = rstd.data(),
                                .dx = dx,
                                .dgamma = dgamma.data()};
          norm_backward(backward, pool, workspace);
          rule.codes = again;
          backward.codes = rule;
          backward.beta = forward.beta;
          backward.dx = dx2;
          backward.dgamma = dgamma2.data();
          norm_backward(backward, pool, workspace);
          EXPECT_EQ(again.memory(), expected.memory());
          EXPECT_EQ(dx2.memory(), dx.memory());
          EXPECT_EQ(dgamma2, dgamma);
        }
  });
}

TEST(Norm, NanReachesAmax) {
  ThreadPool pool(2);
  for_each_isa([&] {
    const std::vector<float> gamma(40, 1.0f);
    TestMatrix x = TestMatrix(Format::fp32, 6, 40).fill(1), y(Format::fp32, 6, 40);
    x.set(4, 39, std::numeric_limits<float>::quiet_NaN());
    float amax = 0;
    norm_forward({.kind = NormKind::rms, .x = x, .y = y, .gamma = gamma.data(), .amax = &amax}, pool);
    EXPECT_TRUE(std::isnan(amax));
    EXPECT_FALSE(std::isnan(y.get(3, 39)));
  });
}

TEST(Norm, BackwardReportsTheLargestGradient) {
  ThreadPool pool(2);
  for_each_isa([&] {
    const std::vector<float> gamma = random_vector(53, 1), rstd(7, 0.8f);
    std::vector<float> dgamma(53);
    const TestMatrix x = TestMatrix(Format::bf16, 7, 53).fill(1),
                     dy = TestMatrix(Format::bf16, 7, 53).fill(2);
    TestMatrix dx(Format::bf16, 7, 53);
    const Buffer memory(norm_backward_workspace(7, 53));
    Workspace workspace(memory.data(), memory.size());
    float largest = 0;
    norm_backward({.kind = NormKind::rms,
                   .dy = dy,
                   .x = x,
                   .gamma = gamma.data(),
                   .rstd = rstd.data(),
                   .dx = dx,
                   .dgamma = dgamma.data(),
                   .amax = &largest},
                  pool, workspace);
    EXPECT_GT(largest, 0);
    EXPECT_EQ(largest, amax(dx, pool));
  });
}

}  // namespace
}  // namespace octavo
