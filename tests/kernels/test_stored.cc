// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/stored.h"

#include <limits>

#include "octavo/kernels/vector.h"
#include "octavo/numerics/decode.h"
#include "octavo/numerics/encode.h"
#include "tests/kernels/stored_test.h"

namespace octavo {
namespace {

/// Numbers where a format rounds: its codes, the middles between neighbours, and what lies next to both; also
/// what no format holds. All times `scale`.
std::vector<float> hard_numbers(Format format, float scale) {
  const FormatSpec s = spec(format);
  std::vector<float> values;
  const uint32_t stride = s.bits == 16 ? 7 : 1;
  for (uint32_t code = 0; code <= s.max_code; code += stride) {
    const float a = octavo::decode(format, code);
    const float b = code < s.max_code ? octavo::decode(format, code + 1) : a;
    for (const float v : {a, a / 2 + b / 2})
      for (const float w : {v, std::nextafter(v, 0.0f), std::nextafter(v, 1e9f)}) {
        values.push_back(w * scale);
        values.push_back(-w * scale);
      }
  }
  const float top = max_finite(format), step = top - octavo::decode(format, s.max_code - 1);
  for (const float v : {top + step / 4, top + step / 2, top + step, 2 * top})
    for (const float w : {v, std::nextafter(v, 0.0f), -v}) values.push_back(w * scale);
  using Limits = std::numeric_limits<float>;
  for (const float v : {0.0f, Limits::infinity(), Limits::quiet_NaN(), Limits::max(), Limits::denorm_min(),
                        Limits::min(), 0x1p-25f, 0x1.000002p-25f, 65519.996f, 65520.0f}) {
    values.push_back(v);
    values.push_back(-v);
  }
  const Rng rng(17);
  for (uint64_t i = 0; i < 4000; ++i) values.push_back(float_from_bits(rng.words(i)[0]));
  return values;
}

TEST(Stored, EveryCodeIsDecoded) {
  ThreadPool pool(2);
  for_each_isa([&] {
    for (const Format format : kStoredFormats) {
      if (format == Format::fp32) continue;
      // 2^120 and more is where a power of two can no longer be hidden in the scale of E4M3.
      for (const float scale : {1.0f, 0x1p-9f, 0.3f, 0x1p+100f, 0x1p+120f, 0x1p+127f, 3e-39f}) {
        const uint32_t codes = bytes(format) == 1 ? 256 : 65536;
        StoredTensor x(format, codes, scale);
        for (uint32_t code = 0; code < codes; ++code) x.set_code(code, code);
        std::vector<float> out(codes);
        decode(x.view(), codes, out.data(), pool);
        for (uint32_t code = 0; code < codes; ++code)
          ASSERT_EQ(float_bits(out[code]), float_bits(x.value(code))) << to_string(format) << ' ' << code;
        uint32_t most = 0;
        for (const float v : out) most = std::max(most, float_bits(v) & 0x7fffffff);
        EXPECT_EQ(float_bits(amax(x.view(), codes, pool)), most) << to_string(format);
      }
    }
  });
}

TEST(Stored, EncodesAsTheNumericsSay) {
  ThreadPool pool(2);
  for (const Format format : kStoredFormats)
    for (const float scale : {1.0f, 0x1p-11f, 0.7f, 0x1p+127f}) {
      const std::vector<float> x = hard_numbers(format == Format::fp32 ? Format::fp16 : format, scale);
      const int64_t n = static_cast<int64_t>(x.size());
      for_each_isa([&] {
        for (const Rounding rounding : kAllRoundings)
          for (const Overflow overflow : kAllOverflows) {
            const CodeRule rule{rounding, overflow, 0x123456789abcdefull, 5};
            StoredTensor out(format, n, scale);
            const Encoded seen = encode(x.data(), n, out.view(), rule, pool);
            int wrong = 0;
            for (int64_t i = 0; i < n && wrong < 5; ++i) {
              const uint32_t expected = expected_code(x[static_cast<size_t>(i)], i, out.view(), rule);
              if (out.code(i) == expected) continue;
              ++wrong;
              ADD_FAILURE() << to_string(format) << ' ' << to_string(rounding) << ' ' << to_string(overflow)
                            << " x " << std::hexfloat << x[static_cast<size_t>(i)] << " scale " << scale
                            << std::hex << ": " << out.code(i) << ", expected " << expected;
            }
            EXPECT_TRUE(std::isnan(seen.amax));
            EXPECT_EQ(seen.saturated, count_saturated(out, n)) << to_string(format);
          }
      });
    }
}

TEST(Stored, OddSizesSaturationAndTeams) {
  for (const Format format : kStoredFormats)
    for (const int64_t n : {1, 7, 8, 15, 16, 17, 33, 2047, 2049, 16385, 70001}) {
      std::vector<float> x = random_vector(n, 3, 0.4 * max_finite(Format::e4m3));
      x[static_cast<size_t>(n / 2)] = -1e5f;
      const CodeRule rule{Rounding::stochastic, Overflow::saturate, 9};
      StoredTensor expected(format, n, 0.9f);
      for (int64_t i = 0; i < n; ++i)
        expected.set_code(i, expected_code(x[static_cast<size_t>(i)], i, expected.view(), rule));
      if (format != Format::fp32 && format != Format::bf16) {
        EXPECT_GT(count_saturated(expected, n), 0);
      }
      for_each_isa([&] {
        for (const int threads : {1, 2, 3, 4}) {
          ThreadPool pool(threads);
          StoredTensor out(format, n, 0.9f);
          const Encoded seen = encode(x.data(), n, out.view(), rule, pool);
          EXPECT_EQ(out.memory(), expected.memory()) << to_string(format) << ' ' << n;
          EXPECT_EQ(seen.amax, std::fabs(*std::max_element(x.begin(), x.end(), [](float a, float b) {
                      return std::fabs(a) < std::fabs(b);
                    })));
          EXPECT_EQ(seen.saturated, count_saturated(expected, n)) << to_string(format);
          std::vector<float> back(static_cast<size_t>(n));
          decode(out.view(), n, back.data(), pool);
          for (int64_t i = 0; i < n; ++i) ASSERT_EQ(back[static_cast<size_t>(i)], out.value(i));
        }
      });
    }
}

TEST(Stored, SumOfSquares) {
  for_each_isa([] {
    for (const Format format : kStoredFormats)
      for (const int64_t n : {0, 1, 17, 65537, 400003}) {
        ThreadPool one(1);
        StoredTensor x(format, n, 0.37f);
        x.fill(4, 2);
        double expected = 0;
        for (int64_t i = 0; i < n; ++i) expected += double{x.value(i)} * x.value(i);
        const double first = sum_squares(x.view(), n, one);
        EXPECT_NEAR(first, expected, 1e-12 * expected);
        // The sum of the decoded numbers, to the bit.
        std::vector<float> values(static_cast<size_t>(n));
        decode(x.view(), n, values.data(), one);
        EXPECT_EQ(first, sum_squares(values.data(), n, one)) << to_string(format);
        for (const int threads : {2, 3, 4}) {
          ThreadPool pool(threads);
          EXPECT_EQ(sum_squares(x.view(), n, pool), first);
        }
      }
  });
}

TEST(Stored, RecodesThroughTheValue) {
  const int64_t n = 20011;
  for (const Format from : kStoredFormats)
    for (const Format to : kStoredFormats) {
      StoredTensor x(from, n, 0x1p-6f);
      x.fill(8, 0.5);
      const CodeRule rule{Rounding::stochastic, Overflow::saturate, 4, uint64_t{1} << 32};
      StoredTensor expected(to, n, 0x1p-5f);
      for (int64_t i = 0; i < n; ++i)
        expected.set_code(i, expected_code(x.value(i), i, expected.view(), rule));
      for_each_isa([&] {
        ThreadPool pool(3);
        StoredTensor out(to, n, 0x1p-5f);
        const Encoded seen = recode(x.view(), n, out.view(), rule, pool);
        EXPECT_EQ(out.memory(), expected.memory()) << to_string(from) << ' ' << to_string(to);
        EXPECT_EQ(seen.amax, amax(x.view(), n, pool));
        if (bytes(from) != bytes(to)) return;
        StoredTensor place = x;
        recode(place.view(), n, {place.view().data, to, 0x1p-5f}, rule, pool);
        EXPECT_EQ(place.memory(), expected.memory());
      });
    }
}

// The mean of many roundings is the number itself.
TEST(Stored, StochasticRoundingIsUnbiased) {
  ThreadPool pool(2);
  const int64_t n = 1 << 16;
  for (const Format format : {Format::bf16, Format::fp16, Format::e4m3}) {
    const std::vector<float> x(static_cast<size_t>(n), 1.0f + 0x1p-12f);
    const double step = std::ldexp(1.0, -mantissa_bits(format)), share = 0x1p-12 / step;
    StoredTensor out(format, n, 1);
    encode(x.data(), n, out.view(), {Rounding::stochastic, Overflow::saturate, 3}, pool);
    double mean = 0;
    for (int64_t i = 0; i < n; ++i) mean += (out.value(i) - 1) / static_cast<double>(n);
    EXPECT_NEAR(mean, 0x1p-12, 5 * step * std::sqrt(share * (1 - share) / static_cast<double>(n)));
  }
}

}  // namespace
}  // namespace octavo
