// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/quantize.h"

#include <limits>

#include "octavo/base/buffer.h"
#include "octavo/kernels/histogram.h"
#include "octavo/kernels/registry.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"
#include "tests/kernels/stored_test.h"

namespace octavo {
namespace {

constexpr Format kEightBit[] = {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz};

/// Compares with encode() of x / scale, with the Philox number of each position.
void expect_encoded(const TestMatrix& x, const TestMatrix& codes, Format format, const QuantizeArgs& args) {
  const Rng rng(args.out.seed);
  int64_t shown = 0;
  for (int64_t r = 0; r < x.rows(); ++r)
    for (int64_t c = 0; c < x.cols(); ++c) {
      const float scale = scale_at(args.out, r, c);
      const uint32_t random = args.out.rounding == Rounding::stochastic
                                  ? rng.words(static_cast<uint64_t>(r * x.cols() + c))[0]
                                  : 0;
      const uint32_t expected =
          encode(format, x.get(r, c) / scale, args.out.rounding, args.out.overflow, random);
      if (codes.code(r, c) == expected || ++shown > 5) continue;
      ADD_FAILURE() << to_string(format) << ' ' << to_string(args.out.rounding) << ' '
                    << to_string(args.out.overflow) << " x " << std::hexfloat << x.get(r, c) << " scale "
                    << scale << std::hex << ": " << int{codes.code(r, c)} << ", expected " << expected;
    }
  EXPECT_EQ(shown, 0);
}

void check_all_modes(const TestMatrix& x, float scale, ThreadPool& pool) {
  for (const Format format : kEightBit)
    for (const Rounding rounding : kAllRoundings)
      for (const Overflow overflow : kAllOverflows) {
        TestMatrix codes(format, x.rows(), x.cols());
        float largest = 0;
        const QuantizeArgs args{.x = x,
                                .out = {.codes = codes,
                                        .scale = &scale,
                                        .rounding = rounding,
                                        .overflow = overflow,
                                        .seed = 0x123456789abcdefull},
                                .amax = &largest};
        quantize(args, pool);
        expect_encoded(x, codes, format, args);
        EXPECT_EQ(float_bits(largest), float_bits(x.largest()));
      }
}

/// As quantize() describes a format to a row kernel.
CodeGrid saturating_grid(Format format) {
  const FormatSpec s = spec(format);
  return {.mantissa_bits = s.mantissa_bits,
          .bias = s.bias,
          .max_code = s.max_code,
          .overflow_code = s.max_code,
          .nan_code = s.nan_code,
          .has_negative_zero = s.has_negative_zero,
          .min_normal = min_normal(format),
          .limit = 2 * max_finite(format)};
}

/// Every BF16 number.
TestMatrix all_bf16() {
  TestMatrix x(Format::bf16, 256, 256);
  const Matrix view = x;
  for (uint32_t i = 0; i < 65536; ++i) reinterpret_cast<uint16_t*>(view.data)[i] = static_cast<uint16_t>(i);
  return x;
}

TEST(Quantize, EveryBf16InEveryMode) {
  ThreadPool pool(2);
  const TestMatrix x = all_bf16();
  for_each_isa([&] {
    for (const float scale : {1.0f, 0x1p-9f, 0x1p+12f, 0x1p-100f, 0x1p-101f, 0x1p+100f, 0x1p+126f, 0.3f,
                              1.7e-3f, 0x1p-127f, 0x1p+127f, 3e-39f})
      check_all_modes(x, scale, pool);
  });
}

TEST(Quantize, RandomBitsInEveryMode) {
  ThreadPool pool(2);
  TestMatrix x(Format::fp32, 1, 100001);
  const Rng rng(3);
  for (int64_t i = 0; i < x.cols(); ++i) x.set(0, i, float_from_bits(rng.words(static_cast<uint64_t>(i))[0]));
  for_each_isa([&] {
    for (const float scale : {1.0f, 0x1p+5f, 0.7f}) check_all_modes(x, scale, pool);
  });
}

// Millions of numbers in the range of the formats, where the rounding happens, for the rounding used most.
TEST(Quantize, DenseInRangeNearest) {
  ThreadPool pool(2);
  for (const Format format : kEightBit) {
    TestMatrix x(Format::fp32, 1, 1000003);
    const Rng rng(5);
    const FormatSpec s = spec(format);
    for (int64_t i = 0; i < x.cols(); ++i) {
      const auto words = rng.words(static_cast<uint64_t>(i));
      const int exponent = s.min_exponent() - s.mantissa_bits - 3 + static_cast<int>(words[1] % 40);
      float value = std::ldexp(1.0f + static_cast<float>(words[0] & 0x7fffff) * 0x1p-23f, exponent);
      // A third of them on or next to a tie.
      if (words[2] % 3 == 0) value = float_from_bits((float_bits(value) & 0xfff80000) + words[3] % 3 - 1);
      x.set(0, i, words[1] >> 31 ? -value : value);
    }
    for_each_isa([&] {
      TestMatrix codes(format, 1, x.cols());
      const QuantizeArgs args{.x = x, .out = {.codes = codes}};
      quantize(args, pool);
      expect_encoded(x, codes, format, args);
    });
  }
}

TEST(Quantize, TiesAndNeighboursOfEveryCode) {
  ThreadPool pool(1);
  for (const Format format : kEightBit) {
    std::vector<float> values;
    for (uint32_t code = 0; code <= spec(format).max_code; ++code) {
      const float a = decode(format, code);
      const float b =
          code < spec(format).max_code ? decode(format, code + 1) : a + (a - decode(format, code - 1));
      for (const float v : {a, (a + b) / 2, b})
        for (const float w : {v, std::nextafter(v, 0.0f), std::nextafter(v, 1e9f)}) {
          values.push_back(w);
          values.push_back(-w);
        }
    }
    for (const float v :
         {0.0f, std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN(),
          std::numeric_limits<float>::max(), std::numeric_limits<float>::denorm_min()}) {
      values.push_back(v);
      values.push_back(-v);
    }
    TestMatrix x(Format::fp32, 1, static_cast<int64_t>(values.size()));
    for (size_t i = 0; i < values.size(); ++i) x.set(0, static_cast<int64_t>(i), values[i]);
    for_each_isa([&] { check_all_modes(x, 1.0f, pool); });
  }
}

TEST(Quantize, StridesTailsAndColumnScales) {
  ThreadPool pool(3);
  for_each_isa([&] {
    for (const Format from : {Format::fp32, Format::bf16})
      for (int64_t cols = 1; cols < 140; cols += cols < 40 ? 1 : 13) {
        TestMatrix x(from, 5, cols, 3);
        x.fill(static_cast<uint64_t>(cols), 4);
        std::vector<float> scales(static_cast<size_t>(cols)), sums(static_cast<size_t>(cols));
        for (size_t c = 0; c < scales.size(); ++c)
          scales[c] = c % 3 == 0 ? 0.25f : 0.01f * static_cast<float>(c);
        for (const Rounding rounding : kAllRoundings)
          for (float* column_sums : {static_cast<float*>(nullptr), sums.data()}) {
            TestMatrix codes(Format::e4m3, 5, cols, 2);
            QuantizeStats stats;
            const QuantizeArgs args{.x = x,
                                    .out = {.codes = codes,
                                            .scale = scales.data(),
                                            .scale_per_column = true,
                                            .rounding = rounding,
                                            .seed = 9},
                                    .column_sums = column_sums,
                                    .stats = &stats};
            quantize(args, pool);
            expect_encoded(x, codes, Format::e4m3, args);
            EXPECT_TRUE(codes.padding_intact());
            double noise = 0;
            for (int64_t r = 0; r < 5; ++r)
              for (int64_t c = 0; c < cols; ++c)
                noise += std::pow(double{x.get(r, c)} - double{decode(Format::e4m3, codes.code(r, c))} *
                                                            scales[static_cast<size_t>(c)],
                                  2);
            EXPECT_NEAR(stats.noise, noise, 1e-9 * noise);
          }
      }
  });
}

TEST(Quantize, StridesTailsAndRowScales) {
  ThreadPool pool(3);
  for_each_isa([&] {
    for (const Format from : {Format::fp32, Format::bf16})
      for (int64_t cols = 1; cols < 140; cols += cols < 40 ? 1 : 13) {
        TestMatrix x(from, 5, cols, 3);
        x.fill(static_cast<uint64_t>(cols), 4);
        const std::vector<float> scales{1.0f, 0.25f, 0.1f, 8.0f, 3.0f};
        for (const Rounding rounding : kAllRoundings) {
          TestMatrix codes(Format::e4m3, 5, cols, 2);
          const QuantizeArgs args{.x = x,
                                  .out = {.codes = codes,
                                          .scale = scales.data(),
                                          .scale_per_row = true,
                                          .rounding = rounding,
                                          .seed = 9}};
          quantize(args, pool);
          expect_encoded(x, codes, Format::e4m3, args);
          EXPECT_TRUE(codes.padding_intact());
        }
      }
  });
}

// Numbers of elements pass 2^32 in large tensors; the vector code adds the lane to the low word of the
// counter itself.
TEST(Quantize, RandomNumbersBeyond32Bits) {
  const TestMatrix x = TestMatrix(Format::fp32, 1, 61).fill(1);
  const ConstMatrix view = x;
  const Rng rng(77);
  for_each_isa([&] {
    for (const uint64_t first : {uint64_t{0xffffffff} - 20, (uint64_t{5} << 32) - 1, uint64_t{1} << 32}) {
      std::vector<uint8_t> codes(61);
      const CodeGrid grid = saturating_grid(Format::e4m3);
      row_kernels().quantize({.x = {view.data, false},
                              .codes = codes.data(),
                              .cols = 61,
                              .rounding = static_cast<int>(Rounding::stochastic),
                              .seed = 77,
                              .first_index = first},
                             grid);
      for (uint64_t i = 0; i < 61; ++i)
        ASSERT_EQ(codes[i], encode(Format::e4m3, x.get(0, static_cast<int64_t>(i)), Rounding::stochastic,
                                   Overflow::saturate, rng.words(first + i)[0]));
    }
  });
}

TEST(Quantize, WritingPastTheCachesGivesTheSameCodes) {
  const CodeGrid grid = saturating_grid(Format::e5m2);
  for_each_isa([&] {
    for (const Format from : {Format::fp32, Format::bf16}) {
      const TestMatrix x = TestMatrix(from, 1, 1000).fill(3, 40);
      const ConstRow row{ConstMatrix(x).data, from == Format::bf16};
      const Buffer plain(1024), streamed(1024);
      for (const int64_t shift : {0, 1, 64}) {  // aligned or not
        QuantizeRow args{
            .x = row, .codes = plain.as<uint8_t>() + shift, .cols = 1000 - shift, .scale = 0.25f};
        const uint32_t amax = row_kernels().quantize(args, grid);
        args.codes = streamed.as<uint8_t>() + shift;
        args.stream = true;
        EXPECT_EQ(row_kernels().quantize(args, grid), amax);
        EXPECT_EQ(std::memcmp(plain.as<uint8_t>() + shift, args.codes, static_cast<size_t>(args.cols)), 0);
      }
    }
  });
}

TEST(Quantize, SameBitsForAnyTeam) {
  for_each_isa([&] {
    for (const Format from : {Format::fp32, Format::bf16}) {
      TestMatrix x(from, 37, 1111, 5);
      x.fill(11, 20);
      std::vector<uint8_t> first;
      double noise = 0;
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        TestMatrix codes(Format::e5m2, 37, 1111, 1);
        QuantizeStats stats;
        quantize(
            {.x = x, .out = {.codes = codes, .rounding = Rounding::stochastic, .seed = 5}, .stats = &stats},
            pool);
        if (threads == 1) {
          first = codes.memory();
          noise = stats.noise;
        }
        EXPECT_EQ(codes.memory(), first);
        EXPECT_EQ(stats.noise, noise);
      }
    }
  });
}

TEST(Quantize, PlainFormats) {
  ThreadPool pool(2);
  const TestMatrix x = all_bf16();
  for_each_isa([&] {
    TestMatrix wide(Format::fp32, 256, 256, 7), back(Format::bf16, 256, 256);
    quantize({.x = x, .out = {.codes = wide}}, pool);
    quantize({.x = wide, .out = {.codes = back}}, pool);
    for (int64_t r = 0; r < 256; ++r)
      for (int64_t c = 0; c < 256; ++c) {
        ASSERT_EQ(float_bits(wide.get(r, c)), float_bits(x.get(r, c)));
        ASSERT_EQ(float_bits(back.get(r, c)) >> 16, uint32_t{bf16_from_float(x.get(r, c))});
      }
    TestMatrix random(Format::fp32, 1, 100003), rounded(Format::bf16, 1, 100003);
    const Rng rng(8);
    for (int64_t i = 0; i < random.cols(); ++i)
      random.set(0, i, float_from_bits(rng.words(static_cast<uint64_t>(i))[0]));
    quantize({.x = random, .out = {.codes = rounded}}, pool);
    for (int64_t i = 0; i < random.cols(); ++i)
      ASSERT_EQ(float_bits(rounded.get(0, i)) >> 16, uint32_t{bf16_from_float(random.get(0, i))});
  });
}

TEST(Quantize, AmaxKeepsNan) {
  for_each_isa([&] {
    for (const int threads : {1, 3})
      for (const Format format : {Format::fp32, Format::bf16}) {
        ThreadPool pool(threads);
        TestMatrix x(format, 19, 1003, 2);
        x.fill(21);
        x.set(7, 1002, -77.5f);
        EXPECT_EQ(amax(x, pool), 77.5f);
        std::vector<float> by_row(19);
        row_amax(x, by_row.data(), pool);
        EXPECT_EQ(by_row[7], 77.5f);
        EXPECT_LT(by_row[8], 6.0f);
        std::vector<float> by_column(1003, -1.0f);
        column_amax(x, by_column.data(), pool);
        for (int64_t c = 0; c < 1003; ++c) {
          float expected = 0;
          for (int64_t r = 0; r < 19; ++r) expected = std::max(expected, std::fabs(x.get(r, c)));
          ASSERT_EQ(by_column[static_cast<size_t>(c)], expected) << c;
        }
        x.set(3, 1000, -std::numeric_limits<float>::infinity());
        EXPECT_EQ(amax(x, pool), std::numeric_limits<float>::infinity());
        x.set(18, 1002, std::numeric_limits<float>::quiet_NaN());
        EXPECT_TRUE(std::isnan(amax(x, pool)));
        column_amax(x, by_column.data(), pool);
        EXPECT_TRUE(std::isnan(by_column[1002]));
        EXPECT_EQ(by_column[1000], std::numeric_limits<float>::infinity());
        row_amax(x, by_row.data(), pool);
        EXPECT_TRUE(std::isnan(by_row[18]));
        EXPECT_EQ(by_row[7], 77.5f);
      }
  });
}

TEST(Quantize, StatsByHand) {
  ThreadPool pool(2);
  TestMatrix x(Format::fp32, 2, 4);
  const float values[] = {0, 1e-6f, 900, -3, 1, 1.03f, -0.0f, -500};
  for (int64_t i = 0; i < 8; ++i) x.set(i / 4, i % 4, values[i]);
  const float scale = 1;
  TestMatrix codes(Format::e4m3, 2, 4);
  QuantizeStats stats;
  quantize({.x = x, .out = {.codes = codes, .scale = &scale}, .stats = &stats}, pool);
  EXPECT_EQ(stats.count, 8);
  EXPECT_EQ(stats.nonzero, 6);
  EXPECT_EQ(stats.underflow, 1);
  EXPECT_EQ(stats.saturated, 2);
  EXPECT_EQ(stats.exponents[0], 2);
  EXPECT_EQ(stats.exponents[127], 2);
  EXPECT_EQ(stats.exponents[128], 1);
  double signal = 0, noise = 0;
  const double kept[] = {0, 0, 448, -3, 1, 1, 0, -448};
  for (int i = 0; i < 8; ++i) {
    signal += double{values[i]} * values[i];
    noise += (values[i] - kept[i]) * (values[i] - kept[i]);
  }
  EXPECT_DOUBLE_EQ(stats.signal, signal);
  EXPECT_DOUBLE_EQ(stats.noise, noise);
}

TEST(Dequantize, EveryCode) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Format format : kAllFormats) {
      if (bytes(format) != 1) continue;
      for (const Format to : {Format::fp32, Format::bf16}) {
        TestMatrix codes(format, 3, 256, 1);
        const Matrix view = codes;
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t c = 0; c < 256; ++c) view.row(r)[c] = static_cast<std::byte>(c);
        const float scales[] = {1.0f, 0.37f, 0x1p-20f};
        TestMatrix out(to, 3, 256, 4);
        dequantize(codes, scales, true, out, pool);
        EXPECT_TRUE(out.padding_intact());
        for (int64_t r = 0; r < 3; ++r)
          for (int64_t c = 0; c < 256; ++c) {
            const float expected = decode(format, static_cast<uint32_t>(c)) * scales[r];
            const float stored = to == Format::bf16 ? bf16_to_float(bf16_from_float(expected)) : expected;
            if (std::isnan(stored))
              ASSERT_TRUE(std::isnan(out.get(r, c)));
            else
              ASSERT_EQ(float_bits(out.get(r, c)), float_bits(stored)) << to_string(format) << ' ' << c;
          }
      }
    }
  });
}

// The bias gradient comes out of the quantization's own pass, with the bits of column_sum() and the same
// codes.
TEST(Quantize, ColumnSumsOnTheWay) {
  for_each_isa([&] {
    for (const Format from : {Format::fp32, Format::bf16}) {
      const TestMatrix x = TestMatrix(from, 150, 203, 5).fill(3);
      TestMatrix codes(Format::e5m2, 150, 203, 2), plain(Format::e5m2, 150, 203, 2);
      const float scale = 0.25f;
      std::vector<float> once;
      float amax_plain = 0;
      ThreadPool one(1);
      quantize({.x = x, .out = {.codes = plain, .scale = &scale}, .amax = &amax_plain}, one);
      for (const int threads : {1, 2, 3}) {
        ThreadPool pool(threads);
        std::vector<float> sums(203, 1.0f);
        float amax = 0;
        quantize(
            {.x = x, .out = {.codes = codes, .scale = &scale}, .amax = &amax, .column_sums = sums.data()},
            pool);
        if (threads == 1) once = sums;
        EXPECT_EQ(sums, once);
        for (int64_t c = 0; c < 203; ++c) {
          double expected = 1, size = 1;
          for (int64_t r = 0; r < 150; ++r) {
            expected += static_cast<double>(x.get(r, c));
            size += std::abs(static_cast<double>(x.get(r, c)));
          }
          EXPECT_NEAR(static_cast<double>(sums[static_cast<size_t>(c)]), expected, 1e-6 * size);
        }
        EXPECT_EQ(codes.memory(), plain.memory());
        EXPECT_EQ(amax, amax_plain);
      }
    }
  });
}

// A compute copy made from a stored tensor: as if its values had been there in FP32.
TEST(Quantize, FromStoredElements) {
  const float x_scale = 0x1p-7f;
  for (const Format from : {Format::fp16, Format::e4m3, Format::e5m2, Format::e4m3fnuz})
    for (const int64_t cols : {1, 31, 2100}) {
      const int64_t rows = cols > 1000 ? 3 : 67, stride = cols + 3;
      StoredTensor x(from, rows * stride, x_scale);
      x.fill(3, 0.3);
      const ConstMatrix view{x.view().data, from, rows, cols, stride};
      TestMatrix wide(Format::fp32, rows, cols);
      for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < cols; ++c) wide.set(r, c, x.value(r * stride + c));
      const std::vector<float> scales = random_vector(std::max(rows, cols), 4, 0.001, 0.01);
      for_each_isa([&] {
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          for (const Format to : {Format::e4m3, Format::e5m2, Format::fp16, Format::bf16, Format::fp32})
            for (const int by : {0, 1, 2})
              for (const bool summed : {false, true}) {
                TestMatrix codes(to, rows, cols, 2), expected(to, rows, cols, 2);
                std::vector<float> sums(static_cast<size_t>(cols)), expected_sums(sums);
                float largest = 0, expected_largest = 0;
                QuantizeStats stats, expected_stats;
                const CodesOut out{.scale = scales.data(),
                                   .scale_per_row = by == 1,
                                   .scale_per_column = by == 2,
                                   .rounding = Rounding::stochastic,
                                   .seed = 2};
                QuantizeArgs args{.x = view,
                                  .x_scale = x_scale,
                                  .out = out,
                                  .amax = &largest,
                                  .column_sums = summed ? sums.data() : nullptr,
                                  .stats = &stats};
                args.out.codes = codes;
                quantize(args, pool);
                args = {.x = wide,
                        .out = out,
                        .amax = &expected_largest,
                        .column_sums = summed ? expected_sums.data() : nullptr,
                        .stats = &expected_stats};
                args.out.codes = expected;
                quantize(args, pool);
                ASSERT_EQ(codes.memory(), expected.memory())
                    << to_string(from) << ' ' << to_string(to) << ' ' << cols << ' ' << by;
                EXPECT_EQ(sums, expected_sums);
                EXPECT_EQ(largest, expected_largest);
                EXPECT_EQ(stats.noise, expected_stats.noise);
                EXPECT_EQ(stats.underflow, expected_stats.underflow);
              }
          EXPECT_EQ(amax(view, pool, x_scale), wide.largest());
          std::vector<float> a(static_cast<size_t>(rows)), b(a);
          row_amax(view, a.data(), pool, x_scale);
          row_amax(wide, b.data(), pool);
          EXPECT_EQ(a, b);
          a.assign(static_cast<size_t>(cols), -1);
          b = a;
          column_amax(view, a.data(), pool, x_scale);
          column_amax(wide, b.data(), pool);
          EXPECT_EQ(a, b);
          const MagnitudeHistogram h = magnitude_histogram(view, pool, x_scale);
          EXPECT_EQ(h.counts, magnitude_histogram(wide, pool).counts);
          EXPECT_EQ(h.amax, wide.largest());
        }
      });
    }
}

}  // namespace
}  // namespace octavo
