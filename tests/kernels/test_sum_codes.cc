// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/sum_codes.h"

#include <limits>

#include "tests/kernels/stored_test.h"

namespace octavo {
namespace {

constexpr CodeSum kSums[] = {CodeSum::fp32, CodeSum::chain, CodeSum::tree};

/// The definition: a list of numbers becomes shorter, two at a time, until one is left.
struct Sum {
  float value;
  int64_t saturated;
};
Sum sum_by_definition(std::vector<float> x, Format format, CodeSum how, bool last_is_result) {
  Sum out{0, 0};
  size_t additions = x.size() - 1;
  const auto add = [&](float a, float b) {
    --additions;
    const float sum = a + b;
    if (how == CodeSum::fp32 || format == Format::fp32) return sum;
    const FormatSpec s = spec(format);
    const uint32_t code = encode(format, sum, Rounding::nearest_even, Overflow::saturate);
    if (format != Format::bf16 && (code & ~s.sign_mask()) == s.max_code &&
        !(additions == 0 && last_is_result))
      ++out.saturated;
    return decode(format, code);
  };
  if (how == CodeSum::tree) {
    while (x.size() > 1) {
      std::vector<float> next;
      for (size_t i = 0; i < x.size(); i += 2) next.push_back(i + 1 < x.size() ? add(x[i], x[i + 1]) : x[i]);
      x = next;
    }
    out.value = x[0];
  } else {
    out.value = x[0];
    for (size_t i = 1; i < x.size(); ++i) out.value = add(out.value, x[i]);
  }
  return out;
}

/// Codes at random: all of them, or those of normal numbers of this size.
std::vector<StoredTensor> parts_of(Format format, int64_t n, int ranks, bool any_code, double sigma) {
  std::vector<StoredTensor> parts;
  for (int r = 0; r < ranks; ++r) {
    StoredTensor& x = parts.emplace_back(format, n, 1.0f);
    if (!any_code) {
      x.fill(static_cast<uint64_t>(r + 1), sigma);
      continue;
    }
    const Rng rng(static_cast<uint64_t>(r + 50));
    const int bits = 8 * bytes(format);
    for (int64_t i = 0; i < n; ++i) x.set_code(i, rng.words(static_cast<uint64_t>(i))[0] >> (32 - bits));
  }
  return parts;
}

void check(std::vector<StoredTensor> parts, CodeSum how, float factor, Format to, float scale,
           const CodeRule& rule) {
  const Format format = parts[0].format();
  const int64_t n = parts[0].size();
  const bool last_is_result = to == format && (scale == 1 || to == Format::bf16) && factor == 1;
  StoredTensor expected(to, n, scale);
  std::vector<float> sums(static_cast<size_t>(n));
  uint32_t most = 0;
  int64_t saturated = 0;
  for (int64_t i = 0; i < n; ++i) {
    std::vector<float> values;
    for (const StoredTensor& p : parts) values.push_back(p.value(i));
    const Sum sum = sum_by_definition(values, format, how, last_is_result);
    float result = sum.value * factor;
    if (std::isnan(result)) result = std::numeric_limits<float>::quiet_NaN();
    saturated += sum.saturated;
    most = std::max(most, float_bits(result) & 0x7fffffff);
    sums[static_cast<size_t>(i)] = result;
    expected.set_code(i, expected_code(result, i, expected.view(), rule));
  }
  saturated += count_saturated(expected, n);
  std::vector<const void*> pointers;
  for (StoredTensor& p : parts) pointers.push_back(p.view().data);
  for_each_isa([&] {
    for (const int threads : {1, 2, 4}) {
      ThreadPool pool(threads);
      StoredTensor out(to, n, scale);
      const Encoded seen = sum_codes(pointers, format, n, how, factor, out.view(), rule, pool);
      for (int64_t i = 0; i < n; ++i) {
        ASSERT_EQ(out.code(i), expected.code(i))
            << to_string(format) << " to " << to_string(to) << ' ' << static_cast<int>(how) << ", "
            << parts.size() << " parts, element " << i << " of " << n << ", sum "
            << sums[static_cast<size_t>(i)];
      }
      EXPECT_EQ(float_bits(seen.amax), most);
      EXPECT_EQ(seen.saturated, saturated) << to_string(format) << ' ' << static_cast<int>(how);
    }
  });
}

TEST(SumCodes, EveryFormatOrderAndNumberOfParts) {
  for (const Format format : kStoredFormats)
    for (const CodeSum how : kSums)
      for (const int ranks : {1, 2, 3, 5, 7, 8, 11})
        for (const int64_t n : {1, 17, 2051}) {
          // Some sums of e4m3 saturate.
          const std::vector<StoredTensor> parts = parts_of(format, n, ranks, false, 120);
          check(parts, how, 1, format, 1, {});
          check(parts, how, 0.125f, Format::fp32, 1, {});
          check(parts, how, 0.3f, Format::e5m2, 0.5f, {Rounding::stochastic, Overflow::inf, 3, 1000});
        }
}

TEST(SumCodes, EveryCodeWithNanInfinityAndSubnormals) {
  for (const Format format : kStoredFormats)
    for (const CodeSum how : kSums)
      for (const int ranks : {2, 3, 8}) {
        const std::vector<StoredTensor> parts = parts_of(format, 9001, ranks, true, 0);
        check(parts, how, 1, format, 1, {});
        check(parts, how, 1.0f / 3, Format::fp16, 0x1p-3f, {});
      }
}

/// All pairs of E4M3 codes.
TEST(SumCodes, AllPairs) {
  for (const Format format : {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz})
    for (const CodeSum how : kSums) {
      std::vector<StoredTensor> parts(2, StoredTensor(format, 65536, 1));
      for (int64_t i = 0; i < 65536; ++i) {
        parts[0].set_code(i, static_cast<uint32_t>(i & 255));
        parts[1].set_code(i, static_cast<uint32_t>(i >> 8));
      }
      check(parts, how, 1, format, 1, {});
      check(parts, how, 1, Format::fp32, 1, {});
    }
}

TEST(SumCodes, PiecesRoundAsTheWhole) {
  ThreadPool pool(2);
  const int64_t n = 5000, cut = 1234;
  std::vector<StoredTensor> parts = parts_of(Format::e4m3, n, 4, false, 3);
  std::vector<const void*> whole, rest;
  for (StoredTensor& p : parts) {
    whole.push_back(p.view().data);
    rest.push_back(from(p.view(), cut).data);
  }
  const CodeRule rule{Rounding::stochastic, Overflow::saturate, 8};
  StoredTensor a(Format::e4m3, n, 1), b(Format::e4m3, n, 1);
  sum_codes(whole, Format::e4m3, n, CodeSum::fp32, 0.25f, a.view(), rule, pool);
  sum_codes(whole, Format::e4m3, cut, CodeSum::fp32, 0.25f, b.view(), rule, pool);
  CodeRule later = rule;
  later.first = cut;
  sum_codes(rest, Format::e4m3, n - cut, CodeSum::fp32, 0.25f, from(b.view(), cut), later, pool);
  EXPECT_EQ(a.memory(), b.memory());
}

TEST(SumCodes, IntoAPart) {
  for (const CodeSum how : kSums)
    for_each_isa([&] {
      ThreadPool pool(3);
      std::vector<StoredTensor> parts = parts_of(Format::e4m3, 30000, 3, false, 3);
      std::vector<const void*> pointers;
      for (StoredTensor& p : parts) pointers.push_back(p.view().data);
      StoredTensor out(Format::e4m3, 30000, 1);
      sum_codes(pointers, Format::e4m3, 30000, how, 1, out.view(), {}, pool);
      sum_codes(pointers, Format::e4m3, 30000, how, 1, parts[1].view(), {}, pool);
      EXPECT_EQ(parts[1].memory(), out.memory());
    });
}

}  // namespace
}  // namespace octavo
