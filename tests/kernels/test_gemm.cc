// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/rng.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

/// An operand with its own memory: `rows` x k, in rows of `stride` elements, with guard values between the
/// rows.
struct Operand {
  Format format;
  int64_t rows, k, stride;
  bool k_contiguous;
  std::vector<uint8_t> memory;
  std::vector<float> scales;

  Operand(Format f, int64_t rows_, int64_t k_, bool k_contiguous_, int64_t pad = 0)
      : format(f),
        rows(rows_),
        k(k_),
        stride((k_contiguous_ ? k_ : rows_) + pad),
        k_contiguous(k_contiguous_) {
    const int64_t lines = k_contiguous ? rows : k;
    // NaN everywhere a kernel must not look.
    memory.assign(static_cast<size_t>(lines * stride * bytes(format)), 0);
    for (int64_t i = 0; i < lines * stride; ++i) put(i, spec(format).nan_code);
  }
  void put(int64_t at, uint32_t code) {
    std::memcpy(&memory[static_cast<size_t>(at * bytes(format))], &code, static_cast<size_t>(bytes(format)));
  }
  int64_t at(int64_t row, int64_t kk) const { return k_contiguous ? row * stride + kk : kk * stride + row; }
  void set(int64_t row, int64_t kk, float x) {
    put(at(row, kk), encode(format, x, Rounding::nearest_even, Overflow::saturate));
  }
  float get(int64_t row, int64_t kk) const {
    uint32_t code = 0;
    std::memcpy(&code, &memory[static_cast<size_t>(at(row, kk) * bytes(format))],
                static_cast<size_t>(bytes(format)));
    return decode(format, code);
  }
  void fill_normal(uint64_t seed) {
    const Rng rng(seed);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < k; ++i)
        set(r, i, static_cast<float>(rng.normal(static_cast<uint64_t>(r * k + i))));
  }
  void fill_integers(uint64_t seed) {
    const Rng rng(seed);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < k; ++i)
        set(r, i,
            static_cast<float>(static_cast<int>(rng.integer(static_cast<uint64_t>(r * k + i)) % 9) - 4));
  }
  GemmOperand view(int64_t first_row = 0) const {
    GemmOperand o;
    o.data = memory.data() + static_cast<size_t>(at(first_row, 0) * bytes(format));
    o.format = format;
    o.stride = stride;
    o.k_contiguous = k_contiguous;
    o.scale = scales.empty() ? nullptr : scales.data() + (scales.size() > 1 ? first_row : 0);
    o.scale_per_row = scales.size() > 1;
    return o;
  }
};

GemmArgs problem(const Operand& a, const Operand& b, std::vector<float>& c) {
  c.resize(static_cast<size_t>(a.rows * b.rows));
  GemmArgs g;
  g.m = a.rows;
  g.n = b.rows;
  g.k = a.k;
  g.a = a.view();
  g.b = b.view();
  g.c = c.data();
  g.c_stride = b.rows;
  return g;
}

void run(const std::string& variant, const GemmArgs& g, int threads = 1) {
  static ThreadPool one(1), two(2), three(3);
  ThreadPool& pool = threads == 1 ? one : threads == 2 ? two : three;
  const size_t size = gemm_workspace_with(variant, g, threads);
  Buffer buffer(size + 64);  // a workspace without memory would only plan
  Workspace workspace(buffer.data(), buffer.size());
  gemm_with(variant, g, pool, workspace);
  ASSERT_EQ(workspace.mark(), 0u);
  ASSERT_LE(workspace.high_water(), size);
}

bool accepts(const std::string& variant, Format a) {
  return a != Format::fp32 || (variant != "amx" && variant != "avx512bf16");
}

std::string describe(const std::string& variant, const GemmArgs& g) {
  return variant + " " + std::string(to_string(g.a.format)) + (g.a.k_contiguous ? "/k" : "/m") + " x " +
         std::string(to_string(g.b.format)) + (g.b.k_contiguous ? "/k " : "/n ") + std::to_string(g.m) + "x" +
         std::to_string(g.n) + "x" + std::to_string(g.k);
}

const std::pair<Format, Format> kPairs[] = {
    {Format::e4m3, Format::e4m3},         {Format::e5m2, Format::e4m3}, {Format::bf16, Format::bf16},
    {Format::bf16, Format::e4m3},         {Format::e5m2, Format::bf16}, {Format::fp32, Format::fp32},
    {Format::e4m3fnuz, Format::e5m2fnuz},
};
struct Shape {
  int64_t m, n, k;
};

class GemmVariant : public ::testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(All, GemmVariant, ::testing::ValuesIn(gemm_variants()),
                         [](const auto& param) { return param.param; });

void expect_close_to_double(const std::string& variant, const Operand& a, const Operand& b) {
  std::vector<float> c;
  const GemmArgs g = problem(a, b, c);
  run(variant, g, 2);
  for (int64_t m = 0; m < g.m; ++m) {
    for (int64_t n = 0; n < g.n; ++n) {
      double sum = 0, magnitude = 0;
      for (int64_t k = 0; k < g.k; ++k) {
        const double product = static_cast<double>(a.get(m, k)) * b.get(n, k);
        sum += product;
        magnitude += std::abs(product);
      }
      const double tolerance = 0x1p-24 * (4 + std::sqrt(static_cast<double>(g.k))) * magnitude;
      ASSERT_NEAR(c[static_cast<size_t>(m * g.n + n)], sum, tolerance)
          << describe(variant, g) << " at " << m << "," << n;
    }
  }
}

TEST_P(GemmVariant, AgreesWithDoubleInAllLayoutsFormatsAndEdges) {
  const Shape shapes[] = {{1, 1, 1},   {1, 17, 33},  {3, 5, 7},    {5, 33, 2},    {6, 64, 64},  {7, 65, 31},
                          {13, 63, 1}, {16, 32, 32}, {17, 31, 65}, {33, 33, 129}, {31, 130, 95}};
  uint64_t seed = 1;
  for (const auto& [fa, fb] : kPairs) {
    if (!accepts(GetParam(), fa)) continue;
    for (const Shape& s : shapes) {
      for (int layout = 0; layout < 4; ++layout) {
        Operand a(fa, s.m, s.k, layout & 1, layout == 2 ? 3 : 0),
            b(fb, s.n, s.k, layout & 2, layout == 1 ? 5 : 0);
        a.fill_normal(++seed);
        b.fill_normal(++seed);
        expect_close_to_double(GetParam(), a, b);
      }
    }
  }
}

// Several blocks along k, m and n, with ragged ends.
TEST_P(GemmVariant, SumsOfIntegersOverSeveralBlocksAreExact) {
  const Shape shapes[] = {{70, 75, 2085}, {530, 40, 70}, {9, 1100, 530}, {200, 210, 1060}, {400, 9, 1030}};
  for (const auto& [fa, fb] : {kPairs[0], kPairs[2], kPairs[3], kPairs[5]}) {
    if (!accepts(GetParam(), fa)) continue;
    for (const Shape& s : shapes) {
      for (int layout = 0; layout < 4; ++layout) {
        Operand a(fa, s.m, s.k, layout & 1, 1), b(fb, s.n, s.k, layout & 2, 2);
        a.fill_integers(3);
        b.fill_integers(4);
        std::vector<float> c, expected;
        const GemmArgs g = problem(a, b, c);
        run(GetParam(), g, 2);
        std::vector<int> ai(static_cast<size_t>(s.m * s.k)), bi(static_cast<size_t>(s.n * s.k));
        for (int64_t m = 0; m < s.m; ++m)
          for (int64_t k = 0; k < s.k; ++k)
            ai[static_cast<size_t>(m * s.k + k)] = static_cast<int>(a.get(m, k));
        for (int64_t n = 0; n < s.n; ++n)
          for (int64_t k = 0; k < s.k; ++k)
            bi[static_cast<size_t>(n * s.k + k)] = static_cast<int>(b.get(n, k));
        for (int64_t m = 0; m < s.m; ++m) {
          for (int64_t n = 0; n < s.n; ++n) {
            int sum = 0;
            for (int64_t k = 0; k < s.k; ++k)
              sum += ai[static_cast<size_t>(m * s.k + k)] * bi[static_cast<size_t>(n * s.k + k)];
            ASSERT_EQ(c[static_cast<size_t>(m * s.n + n)], static_cast<float>(sum))
                << describe(GetParam(), g) << " at " << m << "," << n;
          }
        }
      }
    }
  }
}

TEST_P(GemmVariant, AllCodesOfEveryFormatAreRead) {
  for (Format f : {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz}) {
    for (int layout = 0; layout < 4; ++layout) {
      // Row r of A holds code r at its own place in k; the columns of B are unit vectors, so C returns the
      // values.
      Operand a(f, 256, 256, layout & 1), b(f, 256, 256, layout & 2);
      for (int64_t r = 0; r < 256; ++r)
        for (int64_t k = 0; k < 256; ++k) {
          a.put(a.at(r, k), r == k ? static_cast<uint32_t>(r) : 0);
          b.put(b.at(r, k), 0);
          if (r == k) b.set(r, k, 1.0f);
        }
      std::vector<float> c;
      run(GetParam(), problem(a, b, c), 1);
      for (int64_t r = 0; r < 256; ++r) {
        const float expected = decode(f, static_cast<uint32_t>(r));
        const float got = c[static_cast<size_t>(r * 256 + r)];
        if (std::isnan(expected))
          ASSERT_TRUE(std::isnan(got)) << to_string(f) << " code " << r << " layout " << layout;
        else
          ASSERT_EQ(got, expected) << to_string(f) << " code " << r << " layout " << layout;
      }
    }
  }
}

/// Runs the part.m x part.n problem at (m0, n0) of `whole` on its own; its bits must be those at `expected`.
void expect_part_of(const std::string& variant, const GemmArgs& whole, const Operand& a, const Operand& b,
                    int64_t m0, int64_t n0, const Shape& part, int threads, const float* expected) {
  GemmArgs sub = whole;
  std::vector<float> c(static_cast<size_t>(part.m * part.n));
  sub.a = a.view(m0);
  sub.b = b.view(n0);
  sub.m = part.m;
  sub.n = part.n;
  sub.c = c.data();
  sub.c_stride = part.n;
  run(variant, sub, threads);
  for (int64_t m = 0; m < part.m; ++m)
    ASSERT_EQ(0, std::memcmp(&c[static_cast<size_t>(m * part.n)], expected + m * whole.n,
                             static_cast<size_t>(part.n) * 4))
        << describe(variant, sub) << " row " << m;
}

TEST_P(GemmVariant, BitsDependOnNeitherThreadsNorPosition) {
  for (const auto& [fa, fb] : {kPairs[0], kPairs[2], kPairs[5]}) {
    if (!accepts(GetParam(), fa)) continue;
    for (int layout = 0; layout < 4; ++layout) {
      Operand a(fa, 230, 1100, layout & 1), b(fb, 150, 1100, layout & 2);
      a.fill_normal(5);
      b.fill_normal(6);
      std::vector<float> c1, c2, c3;
      const GemmArgs g = problem(a, b, c1);
      run(GetParam(), g, 1);
      run(GetParam(), problem(a, b, c2), 2);
      run(GetParam(), problem(a, b, c3), 3);
      ASSERT_EQ(0, std::memcmp(c1.data(), c2.data(), c1.size() * 4)) << describe(GetParam(), g);
      ASSERT_EQ(0, std::memcmp(c1.data(), c3.data(), c1.size() * 4)) << describe(GetParam(), g);
      // Rows 11.. and columns 37.. alone.
      for (const Shape part : {Shape{50, 41, 0}, Shape{17, 113, 0}})
        expect_part_of(GetParam(), g, a, b, 11, 37, part, 2, c1.data() + 11 * g.n + 37);
      // Up to 16 rows, as in generation, have an order of their own, the same for each number of them.
      GemmArgs sixteen = g;
      std::vector<float> c16(static_cast<size_t>(16 * g.n));
      sixteen.m = 16;
      sixteen.c = c16.data();
      run(GetParam(), sixteen, 1);
      for (const Shape part : {Shape{1, 113, 0}, Shape{2, 90, 0}, Shape{7, 3, 0}, Shape{13, 1, 0}})
        expect_part_of(GetParam(), g, a, b, 3, 37, part, 3, c16.data() + 3 * g.n + 37);
    }
  }
}

// However few rows there are, packed or not.
TEST_P(GemmVariant, OneOrderGivesAFewRowsTheBitsOfMany) {
  for (const auto& [fa, fb] : kPairs) {
    if (!accepts(GetParam(), fa)) continue;
    for (const Shape& s : {Shape{41, 75, 530}, Shape{41, 33, 95}, Shape{41, 130, 4200}}) {
      Operand a(fa, s.m, s.k, true, 3), b(fb, s.n, s.k, true, 1);
      a.fill_normal(5);
      b.fill_normal(6);
      std::vector<float> all, c;
      run(GetParam(), problem(a, b, all), 2);
      for (const int64_t rows : {1, 2, 5, 16, 17, 33})
        for (const int64_t first : {int64_t{0}, s.m - rows}) {
          c.assign(static_cast<size_t>(s.m * s.n), 0.0f);
          GemmArgs g = problem(a, b, c);
          g.m = rows;
          g.a = a.view(first);
          g.one_order = true;
          run(GetParam(), g, 2);
          c.resize(static_cast<size_t>(rows * s.n));
          const auto begin = all.begin() + first * s.n;
          ASSERT_EQ(c, std::vector<float>(begin, begin + rows * s.n))
              << describe(GetParam(), g) << " from row " << first;
        }
    }
  }
}

TEST_P(GemmVariant, ScalesBiasAccumulateAndBf16RoundOnceInTheStatedOrder) {
  const int64_t n = 83, k = 130;
  const Format f = accepts(GetParam(), Format::fp32) ? Format::fp32 : Format::bf16;
  for (int mode = 0; mode < 64; ++mode) {
    const bool skinny = mode & 32;  // as in generation
    const int64_t m = skinny ? 5 : 37;
    Operand a(f, m, k, true), b(f, n, k, skinny);
    a.fill_normal(7);
    b.fill_normal(8);
    std::vector<float> plain;
    run(GetParam(), problem(a, b, plain), 2);

    const bool per_row_a = mode & 1, per_row_b = mode & 2, with_bias = mode & 4, accumulate = mode & 8,
               half = mode & 16;
    const Rng rng(9);
    for (int64_t i = 0; i < (per_row_a ? m : 1); ++i)
      a.scales.push_back(0.3f + static_cast<float>(rng.uniform(i)));
    for (int64_t i = 0; i < (per_row_b ? n : 1); ++i)
      b.scales.push_back(0.1f + static_cast<float>(rng.uniform(500 + i)));
    std::vector<float> bias;
    for (int64_t i = 0; i < n; ++i) bias.push_back(static_cast<float>(rng.normal(1000 + i)));

    const int64_t stride = n + 7;
    std::vector<float> c(static_cast<size_t>(m * stride)), before;
    std::vector<uint16_t> h(c.size());
    for (size_t i = 0; i < c.size(); ++i) {
      h[i] = bf16_from_float(static_cast<float>(rng.normal(5000 + i)));
      c[i] = half ? bf16_to_float(h[i]) : static_cast<float>(rng.normal(5000 + i));
    }
    before = c;
    std::vector<float> unused;
    GemmArgs g = problem(a, b, unused);
    g.alpha = 0.7f;
    g.bias = with_bias ? bias.data() : nullptr;
    g.accumulate = accumulate;
    g.c = half ? static_cast<void*>(h.data()) : c.data();
    g.c_format = half ? Format::bf16 : Format::fp32;
    g.c_stride = stride;
    run(GetParam(), g, 2);
    for (int64_t r = 0; r < m; ++r) {
      for (int64_t i = 0; i < stride; ++i) {
        const size_t at = static_cast<size_t>(r * stride + i);
        float expected = before[at];
        if (i < n) {
          const float scale = 0.7f * a.scales[static_cast<size_t>(per_row_a ? r : 0)] *
                              b.scales[static_cast<size_t>(per_row_b ? i : 0)];
          float value = plain[static_cast<size_t>(r * n + i)] * scale;
          if (with_bias) value += bias[static_cast<size_t>(i)];
          if (accumulate) value = before[at] + value;
          expected = half ? bf16_to_float(bf16_from_float(value)) : value;
        }
        // The reference rounds its double sum once more only through `plain`, which is the same rounding.
        ASSERT_EQ(half ? bf16_to_float(h[at]) : c[at], expected)
            << describe(GetParam(), g) << " mode " << mode << " at " << r << "," << i;
      }
    }
  }
}

// Multiplying by a power of two commutes with every rounding of the sum.
TEST_P(GemmVariant, PowerOfTwoScalesAreThoseOfDequantizedOperands) {
  for (const auto& [fa, fb] : {kPairs[0], kPairs[1], kPairs[6]})
    for (const Shape s : {Shape{37, 83, 130}, Shape{5, 83, 2085}}) {
      for (const auto& [exponent_a, exponent_b] : {std::pair(-7, 3), std::pair(12, -20)}) {
        Operand a(fa, s.m, s.k, true), b(fb, s.n, s.k, true);
        a.fill_normal(21);
        b.fill_normal(22);
        // BF16 holds every 8-bit code times a power of two.
        Operand wide_a(Format::bf16, s.m, s.k, true), wide_b(Format::bf16, s.n, s.k, true);
        for (int64_t i = 0; i < s.k; ++i) {
          for (int64_t r = 0; r < s.m; ++r) wide_a.set(r, i, std::ldexp(a.get(r, i), exponent_a));
          for (int64_t r = 0; r < s.n; ++r) wide_b.set(r, i, std::ldexp(b.get(r, i), exponent_b));
        }
        a.scales = {std::ldexp(1.0f, exponent_a)};
        b.scales = {std::ldexp(1.0f, exponent_b)};
        std::vector<float> epilogue, dequantized;
        const GemmArgs g = problem(a, b, epilogue);
        run(GetParam(), g, 2);
        run(GetParam(), problem(wide_a, wide_b, dequantized), 2);
        for (size_t i = 0; i < epilogue.size(); ++i)
          ASSERT_EQ(epilogue[i], dequantized[i]) << describe(GetParam(), g) << " at " << i;
      }
    }
}

TEST_P(GemmVariant, NanAndInfinityReachTheirRowsAndColumnsOnly) {
  for (const auto& [fa, fb] : {kPairs[1], kPairs[2], kPairs[5]}) {
    if (!accepts(GetParam(), fa)) continue;
    for (int layout = 0; layout < 4; ++layout) {
      Operand a(fa, 20, 70, layout & 1), b(fb, 40, 70, layout & 2);
      for (int64_t r = 0; r < 20; ++r)
        for (int64_t k = 0; k < 70; ++k) a.set(r, k, 1);
      for (int64_t r = 0; r < 40; ++r)
        for (int64_t k = 0; k < 70; ++k) b.set(r, k, 2);
      a.put(a.at(3, 69), spec(fa).inf_code);
      b.put(b.at(39, 5), spec(fb).nan_code);
      std::vector<float> c;
      const GemmArgs g = problem(a, b, c);
      run(GetParam(), g, 2);
      for (int64_t r = 0; r < 20; ++r)
        for (int64_t i = 0; i < 40; ++i) {
          const float x = c[static_cast<size_t>(r * 40 + i)];
          if (i == 39)
            ASSERT_TRUE(std::isnan(x)) << describe(GetParam(), g);
          else
            ASSERT_EQ(x, r == 3 ? INFINITY : 140.0f) << describe(GetParam(), g) << " at " << r << "," << i;
        }
    }
  }
}

// What happens to blocks in the cache must be what the element-wise kernels do to the whole result.
TEST_P(GemmVariant, ActivationResidualAmaxAndCodesAreThoseOfSeparateKernels) {
  ThreadPool pool(2);
  const float scale = 1.0f / 16;
  for (const Shape s : {Shape{5, 83, 130}, Shape{70, 75, 2085}, Shape{210, 140, 96}}) {
    Operand a(Format::e4m3, s.m, s.k, true), b(Format::e4m3, s.n, s.k, true);
    a.fill_normal(3);
    b.fill_normal(4);
    a.scales = {0.03f};
    std::vector<float> plain, bias;
    const Rng rng(9);
    for (int64_t i = 0; i < s.n; ++i) bias.push_back(static_cast<float>(rng.normal(i)));
    GemmArgs g = problem(a, b, plain);
    g.bias = bias.data();
    run(GetParam(), g, 2);
    for (int mode = 0; mode < 24; ++mode) {
      const bool act = mode & 1, add = mode & 2, accumulate = mode & 4;
      const Format out = mode < 8 ? Format::fp32 : mode < 16 ? Format::bf16 : Format::e4m3;
      if (out == Format::e4m3 && accumulate) continue;
      SCOPED_TRACE(describe(GetParam(), g) + " mode " + std::to_string(mode));
      const int64_t stride = s.n + 5;
      std::vector<uint16_t> residual(static_cast<size_t>(s.m * s.n));
      for (size_t i = 0; i < residual.size(); ++i)
        residual[i] = bf16_from_float(static_cast<float>(rng.normal(700 + i)));
      Buffer c(static_cast<size_t>(s.m * stride) * 4);
      for (int64_t i = 0; i < s.m * stride; ++i)
        if (out == Format::fp32)
          c.as<float>()[i] = static_cast<float>(rng.normal(90000 + i));
        else
          c.as<uint16_t>()[i] = bf16_from_float(static_cast<float>(rng.normal(90000 + i)));
      const Matrix to{c.data(), out, s.m, s.n, stride};

      // One after the other, in FP32.
      std::vector<float> x = plain;
      const Matrix whole = dense(x.data(), Format::fp32, s.m, s.n);
      if (act) activation_forward(Activation::gelu_tanh, whole, {}, whole, nullptr, pool);
      for (int64_t r = 0; r < s.m; ++r)
        for (int64_t i = 0; i < s.n; ++i) {
          float& v = x[static_cast<size_t>(r * s.n + i)];
          if (add) v += bf16_to_float(residual[static_cast<size_t>(r * s.n + i)]);
          if (accumulate)
            v = (out == Format::fp32 ? c.as<float>()[r * stride + i]
                                     : bf16_to_float(c.as<uint16_t>()[r * stride + i])) +
                v;
        }
      Buffer expected(static_cast<size_t>(s.m * s.n) * 4);
      const Matrix packed = dense(expected.data(), out, s.m, s.n);
      float expected_amax = 0;
      quantize({.x = whole, .out = {.codes = packed, .scale = &scale}, .amax = &expected_amax}, pool);
      if (out == Format::bf16) expected_amax = amax(packed, pool);

      float found_amax = -1;
      GemmArgs fused = g;
      if (act) fused.activation = Activation::gelu_tanh;
      if (add) fused.residual = dense(residual.data(), Format::bf16, s.m, s.n);
      fused.amax = &found_amax;
      fused.accumulate = accumulate;
      if (out == Format::e4m3) {
        fused.codes = {.codes = to, .scale = &scale};
        fused.c = nullptr;
      } else {
        fused.c = to.data;
        fused.c_format = out;
        fused.c_stride = stride;
      }
      run(GetParam(), fused, 3);
      EXPECT_EQ(found_amax, expected_amax);
      for (int64_t r = 0; r < s.m; ++r)
        ASSERT_EQ(std::memcmp(to.row(r), packed.row(r), static_cast<size_t>(s.n * bytes(out))), 0)
            << "row " << r;
    }
  }
}

TEST_P(GemmVariant, PackedBeforehandGivesTheSameBits) {
  const Isa before = max_isa();
  for (const Isa isa : {Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx}) {
    if (isa > before) continue;
    set_max_isa(isa);  // packing is for the variant that the dispatch chooses
    for (const auto& [fa, fb] : {kPairs[1], kPairs[2], kPairs[5]})
      for (const Shape s :
           {Shape{5, 70, 130}, Shape{40, 1300, 96}, Shape{1300, 140, 70}, Shape{70, 75, 4200}})
        for (const bool k_contiguous : {false, true}) {
          Operand a(fa, s.m, s.k, true), b(fb, s.n, s.k, k_contiguous, 3);
          a.fill_normal(1);
          b.fill_normal(2);
          std::vector<float> plain, packed;
          GemmArgs g = problem(a, b, plain);
          if (gemm_choice(g).variant != GetParam()) continue;
          run(GetParam(), g, 2);
          ThreadPool pool(3);
          const Buffer memory(gemm_packed_bytes(g) + 64);
          gemm_pack_b(g, memory.data(), pool);
          for (const int threads : {1, 2}) {
            g = problem(a, b, packed);
            if (gemm_packed_bytes(g) > 0) {
              g.packed_b = memory.data();
              // b itself may not be looked at, but where few rows stream it.
              if (!k_contiguous || s.m > 16) g.b.data = nullptr;
            }
            run(GetParam(), g, threads);
            EXPECT_EQ(packed, plain) << describe(GetParam(), g) << " threads " << threads;
          }
        }
  }
  set_max_isa(before);
}

TEST_P(GemmVariant, EmptySumsGiveTheBias) {
  Operand a(Format::e4m3, 3, 0, true), b(Format::e4m3, 5, 0, true);
  std::vector<float> c, bias{1, 2, 3, 4, 5};
  GemmArgs g = problem(a, b, c);
  g.bias = bias.data();
  g.accumulate = true;
  c.assign(15, 10.0f);
  run(GetParam(), g, 2);
  for (size_t i = 0; i < 15; ++i) ASSERT_EQ(c[i], 11.0f + static_cast<float>(i % 5));
  g.m = 0;
  run(GetParam(), g, 2);
}

TEST(Gemm, ChoiceNamesTheVariantAndWhyBetterOnesWereRefused) {
  Operand a(Format::fp32, 4, 4, true), b(Format::fp32, 4, 4, true);
  std::vector<float> c;
  const GemmArgs g = problem(a, b, c);
  const Isa before = max_isa();
  const GemmChoice choice = gemm_choice(g);
  EXPECT_TRUE(accepts(choice.variant, Format::fp32));
  set_max_isa(Isa::scalar);
  const GemmChoice capped = gemm_choice(g);
  EXPECT_EQ(capped.variant, "ref");
  EXPECT_EQ(gemm_variants(), std::vector<std::string>{"ref"});
  for (const std::string& reason : capped.refused) EXPECT_NE(reason.find(": "), std::string::npos) << reason;
  EXPECT_GE(capped.refused.size(), choice.refused.size());
  set_max_isa(before);
}

TEST(Gemm, UnsupportedProblemsAreErrors) {
  Operand a(Format::fp32, 4, 4, true), b(Format::bf16, 4, 4, true), scale(Format::e8m0, 4, 4, true);
  std::vector<float> c;
  const auto code_of = [](const GemmArgs& g, const std::string& variant) {
    try {
      run(variant, g);
    } catch (const Error& e) {
      return e.code();
    }
    return ExitCode::ok;
  };
  EXPECT_EQ(code_of(problem(a, b, c), "ref"), ExitCode::unsupported);
  EXPECT_EQ(code_of(problem(b, scale, c), "ref"), ExitCode::unsupported);
  EXPECT_EQ(code_of(problem(b, b, c), "no such"), ExitCode::usage);
  GemmArgs g = problem(b, b, c);
  g.c_format = Format::e4m3;
  EXPECT_EQ(code_of(g, "ref"), ExitCode::unsupported);
}

TEST(Gemm, PlanningTellsTheWorkspace) {
  Operand a(Format::e4m3, 100, 300, true), b(Format::e4m3, 200, 300, true);
  std::vector<float> c;
  const GemmArgs g = problem(a, b, c);
  ThreadPool pool(2);
  Workspace planning;
  gemm(g, pool, planning);
  EXPECT_EQ(planning.high_water(), gemm_workspace(g, 2));
  EXPECT_EQ(planning.mark(), 0u);
}

}  // namespace
}  // namespace octavo
