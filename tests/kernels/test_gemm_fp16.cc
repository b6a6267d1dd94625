// SPDX-License-Identifier: Apache-2.0
// FP16 results and the emulated FP16 accumulator, against the definition element by element.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "octavo/base/buffer.h"
#include "octavo/base/cpu.h"
#include "octavo/base/rng.h"
#include "octavo/kernels/gemm.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

float fp16(float x) {
  return decode(Format::fp16, encode(Format::fp16, x, Rounding::nearest_even, Overflow::inf));
}

struct Operand {
  Format format;
  int64_t rows, k;
  bool k_contiguous;
  std::vector<uint32_t> words;  // memory, and aligned
  std::vector<float> values;    // [rows][k]
  std::vector<float> scales;

  Operand(Format f, int64_t rows_, int64_t k_, bool contiguous, uint64_t seed, bool per_row = false)
      : format(f), rows(rows_), k(k_), k_contiguous(contiguous) {
    words.resize(static_cast<size_t>(rows * k));
    values.resize(words.size());
    const Rng rng(seed);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < k; ++i)
        set(r, i, static_cast<float>(3 * rng.normal(static_cast<uint64_t>(r * k + i))));
    for (int64_t r = 0; r < (per_row ? rows : 1); ++r)
      scales.push_back(std::ldexp(1.0f, -2 - static_cast<int>(r % 3)));
  }
  void set(int64_t r, int64_t i, float x) {
    const uint32_t code = encode(format, x, Rounding::nearest_even, Overflow::saturate);
    values[static_cast<size_t>(r * k + i)] = decode(format, code);
    const int64_t at = k_contiguous ? r * k + i : i * rows + r;
    std::memcpy(reinterpret_cast<char*>(words.data()) + at * bytes(format), &code,
                static_cast<size_t>(bytes(format)));
  }
  float scale(int64_t r) const { return scales[scales.size() > 1 ? static_cast<size_t>(r) : 0]; }
  GemmOperand view() const {
    GemmOperand o;
    o.data = words.data();
    o.format = format;
    o.stride = k_contiguous ? k : rows;
    o.k_contiguous = k_contiguous;
    o.scale = scales.data();
    o.scale_per_row = scales.size() > 1;
    return o;
  }
};

/// Sixteen products in FP32, then into the FP16 sum.
float expected_at(const GemmArgs& g, const Operand& a, const Operand& b, int64_t m, int64_t n) {
  const float factor = (g.alpha * a.scale(m)) * b.scale(n);
  float sum = 0;
  for (int64_t k0 = 0; k0 < g.k; k0 += 16) {
    float part = 0;
    for (int64_t k = k0; k < std::min(k0 + 16, g.k); ++k)
      part = std::fma(a.values[static_cast<size_t>(m * g.k + k)], b.values[static_cast<size_t>(n * g.k + k)],
                      part);
    sum = fp16(sum + (g.fp16_sums == Fp16Sums::values ? part * factor : part));
  }
  float x = g.fp16_sums == Fp16Sums::values ? sum : sum * factor;
  if (g.bias) x += g.bias[n];
  return g.round_to_fp16 ? fp16(x) : x;
}

GemmArgs problem(const Operand& a, const Operand& b, std::vector<float>& c) {
  c.assign(static_cast<size_t>(a.rows * b.rows), -7.0f);
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

void run(const GemmArgs& g, int threads) {
  ThreadPool pool(threads);
  Buffer buffer(gemm_workspace(g, threads) + 64);
  Workspace workspace(buffer.data(), buffer.size());
  gemm(g, pool, workspace);
  ASSERT_EQ(workspace.mark(), 0u);
}

class Isas : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (GetParam() > cpu_isa()) GTEST_SKIP() << "this CPU has no " << to_string(GetParam());
    set_max_isa(GetParam());
  }
  void TearDown() override { set_max_isa(cpu_isa()); }
};
INSTANTIATE_TEST_SUITE_P(All, Isas,
                         testing::Values(Isa::scalar, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx),
                         [](const auto& test) { return std::string(to_string(test.param)); });

TEST_P(Isas, SumsAreTheDefinitionBitForBit) {
  const std::pair<Format, Format> pairs[] = {{Format::e4m3, Format::e4m3},
                                             {Format::e5m2, Format::e4m3},
                                             {Format::bf16, Format::e4m3fnuz},
                                             {Format::fp32, Format::fp32}};
  const struct {
    int64_t m, n, k;
  } shapes[] = {{1, 1, 1}, {5, 33, 15}, {17, 70, 300}, {3, 600, 16}, {65, 31, 530}};
  uint64_t seed = 1;
  for (const auto& [fa, fb] : pairs)
    for (const auto& s : shapes)
      for (int variant = 0; variant < 4; ++variant) {
        const Operand a(fa, s.m, s.k, variant & 1, ++seed, variant == 1),
            b(fb, s.n, s.k, variant & 2, ++seed, variant == 2);
        std::vector<float> c, bias(static_cast<size_t>(s.n), 0.3f);
        GemmArgs g = problem(a, b, c);
        g.alpha = 0.5f;
        g.fp16_sums = variant & 1 ? Fp16Sums::codes : Fp16Sums::values;
        g.round_to_fp16 = variant != 0;
        g.accumulate = variant == 3;
        if (variant != 3) g.bias = bias.data();
        run(g, 1 + variant % 3);
        for (int64_t m = 0; m < s.m; ++m)
          for (int64_t n = 0; n < s.n; ++n) {
            const float x = expected_at(g, a, b, m, n);
            ASSERT_EQ(c[static_cast<size_t>(m * s.n + n)], g.accumulate ? -7.0f + x : x)
                << to_string(fa) << " " << s.m << "x" << s.n << "x" << s.k << " variant " << variant << " at "
                << m << "," << n;
          }
      }
}

TEST_P(Isas, ResultsAreFp16NumbersWhateverSumsThem) {
  for (const Format format : {Format::e4m3, Format::bf16, Format::fp32})
    for (const int64_t rows : {3, 40}) {  // generation, and all else
      const Operand a(format, rows, 130, true, 7), b(format, 50, 130, true, 8);
      std::vector<float> plain, rounded;
      GemmArgs g = problem(a, b, plain);
      g.alpha = 10000;  // some beyond 65504
      run(g, 2);
      g = problem(a, b, rounded);
      g.alpha = 10000;
      g.round_to_fp16 = true;
      run(g, 2);
      int infinite = 0;
      for (size_t i = 0; i < plain.size(); ++i) {
        ASSERT_EQ(rounded[i], fp16(plain[i]));
        infinite += std::isinf(rounded[i]);
      }
      EXPECT_GT(infinite, 0);
      EXPECT_LT(infinite, static_cast<int>(plain.size()));
    }
}

TEST_P(Isas, ASumThatOverflowsOnTheWayStaysInfinite) {
  // 65504 twice, then minus both: FP32 sums give 0.
  Operand a(Format::bf16, 1, 64, true, 1), b(Format::bf16, 1, 64, true, 2);
  a.scales = b.scales = {1.0f};
  for (int64_t k = 0; k < 64; ++k) {
    a.set(0, k, k % 16 == 0 ? (k < 32 ? 40000.0f : -40000.0f) : 0.0f);
    b.set(0, k, 1);
  }
  std::vector<float> c;
  GemmArgs g = problem(a, b, c);
  run(g, 1);
  EXPECT_EQ(c[0], 0);
  g.fp16_sums = Fp16Sums::values;
  run(g, 1);
  EXPECT_EQ(c[0], kInf);
  // Scaled before they are summed they fit.
  a.scales = {0.25f};
  g.a = a.view();
  run(g, 1);
  EXPECT_EQ(c[0], 0);
  g.fp16_sums = Fp16Sums::codes;
  run(g, 1);
  EXPECT_EQ(c[0], kInf);
  EXPECT_EQ(gemm_choice(g).variant, "fp16");
}

}  // namespace
}  // namespace octavo
