// SPDX-License-Identifier: Apache-2.0
// Optimizer steps on tensors kept in few bits, against the FP32 steps on their values.
#include "octavo/kernels/optimizer_state.h"

#include <limits>
#include <string_view>
#include <tuple>

#include "octavo/kernels/adamw.h"
#include "octavo/kernels/lion.h"
#include "octavo/kernels/quantize.h"
#include "octavo/numerics/scale.h"
#include "tests/kernels/stored_test.h"

namespace octavo {
namespace {

constexpr AdamWParams kAdam{.lr = 1e-2f,
                            .beta1 = 0.9f,
                            .beta2 = 0.95f,
                            .eps = 1e-8f,
                            .decay = 1e-3,
                            .bias_correction1 = 0.3f,
                            .bias_correction2 = 0.2f,
                            .grad_scale = 0.7f};
constexpr LionParams kLion{.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.99f, .decay = 1e-3, .grad_scale = 0.7f};

struct Formats {
  Format weight, grad, moment1, moment2;
};

/// A tensor with its gradient and moments; moments of Lion have no second one.
struct State {
  State(const Formats& f, int64_t n, bool two_moments, float scale = 1)
      : weight(f.weight, n, 0x1p-8f * scale),
        grad(f.grad, n, 0.75f * 0x1p-12f * scale),
        moment1(f.moment1, n, 0x1p-13f * scale),
        moment2(f.moment2, n, 0x1p-22f * scale),
        two(two_moments) {
    weight.fill(1, 0.5);
    grad.fill(2, 0.01);
    moment1.fill(3, 0.01);
    std::vector<float> squares = random_vector(n, 4, 0.01);
    for (float& v : squares) v *= v;
    moment2.set(squares);
  }
  OptimizerState view() {
    return {weight.view(), grad.view(), moment1.view(), two ? moment2.view() : Stored{}};
  }
  StoredTensor weight, grad, moment1, moment2;
  bool two;
};

/// The FP32 step on the values.
struct Values {
  std::vector<float> weight, moment1, moment2;
  StateAmax amax;
};
float largest(const std::vector<float>& x) {
  uint32_t most = 0;
  for (const float v : x) most = std::max(most, float_bits(v) & 0x7fffffff);
  return float_from_bits(most);
}
Values fp32_step(const State& s, ThreadPool& pool) {
  Values v{s.weight.values(), s.moment1.values(), s.moment2.values(), {}};
  const std::vector<float> grad = s.grad.values();
  const int64_t n = s.weight.size();
  if (s.two)
    adamw(kAdam, v.weight.data(), grad.data(), v.moment1.data(), v.moment2.data(), n, nullptr, pool);
  else
    lion(kLion, v.weight.data(), grad.data(), v.moment1.data(), n, nullptr, pool);
  v.amax = {largest(v.weight), largest(v.moment1), s.two ? largest(v.moment2) : 0};
  return v;
}

StateAmax amaxes(State& s, bool weight_too, ThreadPool& pool) {
  const int64_t n = s.weight.size();
  return s.two ? adamw_amax(kAdam, s.view(), n, weight_too, pool)
               : lion_amax(kLion, s.view(), n, weight_too, pool);
}
StepSeen step(State& s, const StepOutput& output, ThreadPool& pool) {
  const int64_t n = s.weight.size();
  return s.two ? adamw(kAdam, s.view(), output, n, pool) : lion(kLion, s.view(), output, n, pool);
}

/// What must stand in memory after values were stored.
std::vector<uint8_t> stored(const StoredTensor& like, const std::vector<float>& x, const StoreAs& as) {
  StoredTensor out(like.format(), like.size(), as.scale);
  for (int64_t i = 0; i < like.size(); ++i)
    out.set_code(i, expected_code(x[static_cast<size_t>(i)], i, out.view(), as.rule));
  return out.memory();
}

constexpr Formats kSets[] = {{Format::fp16, Format::e4m3, Format::e4m3, Format::fp16},
                             {Format::fp32, Format::fp32, Format::fp32, Format::fp32},
                             {Format::bf16, Format::e5m2, Format::e5m2, Format::bf16},
                             {Format::e4m3fnuz, Format::fp16, Format::fp16, Format::e5m2fnuz},
                             {Format::fp32, Format::bf16, Format::e4m3, Format::fp16}};

TEST(OptimizerState, TheStepIsThatOfFp32OnTheValues) {
  ThreadPool one(1);
  for (const bool two : {true, false})
    for (const Formats& formats : kSets)
      for (const int64_t n : {1, 13, 16, 1025, 17001}) {
        const State start(formats, n, two);
        set_max_isa(Isa::scalar);
        const Values expected = fp32_step(start, one);
        for (const auto& [rounding, powers, top] : {std::tuple{Rounding::nearest_even, true, 1.0f},
                                                    {Rounding::nearest_even, true, 8.0f},
                                                    {Rounding::nearest_even, false, 0.99f},
                                                    {Rounding::nearest_even, false, 1.5f},
                                                    {Rounding::stochastic, false, 1.0f},
                                                    {Rounding::truncate, true, 1.0f}}) {
          // Powers of two, which the quickest way asks for, or other scales; those that let the largest
          // numbers saturate, or not.
          const auto scale_of = [&](float amax, Format format) {
            const float scale = amax / max_finite(format) / top;
            return powers ? scale_from_bias(*pow2_bias(amax, format, 0)) / std::floor(top) : scale;
          };
          const StoreAs weight{scale_of(expected.amax.weight, formats.weight),
                               {rounding, Overflow::saturate, 5, 7}};
          const StoreAs moment1{scale_of(expected.amax.moment1, formats.moment1),
                                {rounding, Overflow::saturate, 6}};
          const StoreAs moment2{scale_of(two ? expected.amax.moment2 : 1.0f, formats.moment2),
                                {rounding, Overflow::inf, 7}};
          const std::vector<uint8_t> new_weight = stored(start.weight, expected.weight, weight),
                                     new_moment1 = stored(start.moment1, expected.moment1, moment1),
                                     new_moment2 = stored(start.moment2, expected.moment2, moment2);
          for_each_isa([&] {
            for (const int threads : {1, 2, 4}) {
              ThreadPool pool(threads);
              State s = start;
              const StateAmax before = amaxes(s, true, pool), fast = amaxes(s, false, pool);
              EXPECT_EQ(s.weight.memory(), start.weight.memory());
              EXPECT_EQ(s.moment1.memory(), start.moment1.memory());
              EXPECT_EQ(s.moment2.memory(), start.moment2.memory());
              EXPECT_EQ(before.weight, expected.amax.weight);
              EXPECT_EQ(before.moment1, expected.amax.moment1);
              EXPECT_EQ(before.moment2, expected.amax.moment2);
              EXPECT_EQ(fast.weight, 0);
              EXPECT_EQ(fast.moment1, expected.amax.moment1);
              EXPECT_EQ(fast.moment2, expected.amax.moment2);

              const StepSeen seen = step(s, {weight, moment1, moment2}, pool);
              ASSERT_EQ(s.weight.memory(), new_weight) << to_string(rounding) << ' ' << n;
              ASSERT_EQ(s.moment1.memory(), new_moment1) << to_string(rounding) << ' ' << n;
              if (two) {
                ASSERT_EQ(s.moment2.memory(), new_moment2) << to_string(rounding) << ' ' << n;
                EXPECT_EQ(seen.moment2.amax, expected.amax.moment2);
                EXPECT_EQ(seen.moment2.saturated, count_saturated(s.moment2, n));
              }
              EXPECT_EQ(s.grad.memory(), start.grad.memory());
              EXPECT_EQ(seen.weight.amax, expected.amax.weight);
              EXPECT_EQ(seen.moment1.amax, expected.amax.moment1);
              EXPECT_EQ(seen.weight.saturated, count_saturated(s.weight, n));
              EXPECT_EQ(seen.moment1.saturated, count_saturated(s.moment1, n));
            }
          });
        }
      }
}

TEST(OptimizerState, NanAndInfinityAreStoredAndSeen) {
  ThreadPool pool(2);
  const int64_t n = 20000;
  for (const Formats& formats : kSets)
    for_each_isa([&] {
      State s(formats, n, true);
      s.grad.set_code(12345, spec(formats.grad).nan_code);
      // No second moment is negative, but such a one must not be taken for a large one.
      s.moment2.set_code(3000, spec(formats.moment2).sign_mask() | (spec(formats.moment2).max_code - 3));
      const StateAmax amax = amaxes(s, true, pool);
      EXPECT_TRUE(std::isnan(amax.weight) && std::isnan(amax.moment1) && std::isnan(amax.moment2));
      const Values expected = fp32_step(s, pool);
      const StoreAs weight{0x1p-8f}, moment1{0x1p-13f}, moment2{0x1p-22f};
      const StepSeen seen = step(s, {weight, moment1, moment2}, pool);
      EXPECT_TRUE(std::isnan(seen.weight.amax) && std::isnan(seen.moment1.amax));
      EXPECT_EQ(s.weight.memory(), stored(s.weight, expected.weight, weight));
      EXPECT_EQ(s.moment1.memory(), stored(s.moment1, expected.moment1, moment1));
      EXPECT_EQ(s.moment2.memory(), stored(s.moment2, expected.moment2, moment2));
      EXPECT_TRUE(std::isnan(s.weight.value(12345)));
      EXPECT_FALSE(std::isnan(s.weight.value(12344)));
    });
}

/// Scales that the step finds: exactly the one of the amax, and the codes of a direct cast but for numbers
/// that were subnormal on the way.
TEST(OptimizerState, FitsScalesInOnePass) {
  constexpr Formats kFitted[] = {kSets[0], {Format::e4m3, Format::e4m3, Format::fp16, Format::e5m2}};
  for (const bool two : {true, false})
    for (const Formats& formats : kFitted)
      for (const int64_t n : {50, 20011, 2200001})
        for (const int shift : {-9, -2, -1, 0, 1, 5}) {
          if (n > 1000000 && (shift != -1 || !two || formats.weight != Format::fp16))
            continue;  // blocks of more than the least size
          ThreadPool one(1);
          State start(formats, n, two);
          if (n > 2000) start.weight.set_code(n - 7, spec(formats.weight).max_code);  // one late outlier
          const Values expected = fp32_step(start, one);
          const auto fitting = [](float amax, Format format) {
            return scale_from_bias(*pow2_bias(amax, format, 1));
          };
          // The old scale is too fine, right, or too coarse; values stay what they are.
          const auto rescale = [&](StoredTensor& x, float amax) {
            StoredTensor other(x.format(), n, std::ldexp(fitting(amax, x.format()), shift));
            other.set(x.values());
            x = other;
          };
          rescale(start.weight, expected.amax.weight);
          rescale(start.moment1, expected.amax.moment1);
          if (two) rescale(start.moment2, expected.amax.moment2);
          set_max_isa(Isa::scalar);
          const Values now = fp32_step(start, one);

          const StoreAs as{.rule = {}, .fit_margin = 1};
          State first = start;
          for_each_isa([&] {
            for (const int threads : {1, 3}) {
              ThreadPool pool(threads);
              State s = start;
              const StepSeen seen = step(s, {as, as, as}, pool);
              const auto check = [&](StoredTensor& x, const StoredTensor& old,
                                     const std::vector<float>& value, const Encoded& result, float scale) {
                ASSERT_EQ(scale, fitting(largest(value), x.format()));
                const float coarser = std::max(scale, old.scale());
                x.set_scale(scale);
                EXPECT_EQ(result.amax, largest(value));
                EXPECT_EQ(result.saturated, count_saturated(x, n));
                int64_t subnormal = 0;
                for (int64_t i = 0; i < n; ++i) {
                  const float v = value[static_cast<size_t>(i)];
                  if (std::fabs(v) < 2 * min_normal(x.format()) * coarser) {
                    ++subnormal;
                    ASSERT_NEAR(x.value(i), v, 1.01 * min_subnormal(x.format()) * coarser);
                  } else {
                    ASSERT_EQ(x.code(i), expected_code(v, i, x.view(), {})) << i << ' ' << shift;
                  }
                }
                if (x.format() == Format::fp16 && shift <= 1) {
                  EXPECT_LT(subnormal, n / 20);
                }
              };
              check(s.weight, start.weight, now.weight, seen.weight, seen.weight_scale);
              check(s.moment1, start.moment1, now.moment1, seen.moment1, seen.moment1_scale);
              if (two) check(s.moment2, start.moment2, now.moment2, seen.moment2, seen.moment2_scale);
              if (threads == 1 && max_isa() == Isa::scalar) first = s;
              EXPECT_EQ(s.weight.memory(), first.weight.memory());
              EXPECT_EQ(s.moment1.memory(), first.moment1.memory());
              EXPECT_EQ(s.moment2.memory(), first.moment2.memory());
            }
          });
        }
}

/// The copy against quantize() of the stored weights, with the scale of their largest magnitude.
void expect_copy(State& s, const StepSeen& seen, const CopyOut& copy, const std::vector<uint8_t>& codes) {
  ThreadPool one(1);
  const int64_t n = s.weight.size();
  s.weight.set_scale(seen.weight_scale);
  const float top = largest(s.weight.values());
  EXPECT_EQ(float_bits(seen.copy_amax), float_bits(top));
  const std::optional<int> bias = pow2_bias(top, copy.format, copy.margin, kFloatBiasRange);
  const bool plain = copy.format == Format::bf16 || copy.format == Format::fp32;
  const float scale = plain ? 1 : bias ? scale_from_bias(*bias) : copy.scale;
  ASSERT_EQ(seen.copy_scale, scale);
  std::vector<uint8_t> expected(codes.size());
  const Stored weight = s.weight.view();
  quantize({.x = {weight.data, weight.format, 1, n, n},
            .x_scale = weight.scale,
            .out = {.codes = {expected.data(), copy.format, 1, n, n}, .scale = &scale}},
           one);
  ASSERT_EQ(codes, expected);
}

TEST(OptimizerState, CopyIsThatOfTheStoredWeights) {
  for (const bool two : {true, false})
    for (const Formats& formats : kSets)
      for (const Format format :
           {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::fp16, Format::bf16, Format::fp32})
        for (const int64_t n : {1, 70, 1025, 20011})
          // What the weights do: nothing special; one that outgrows the scales of the copy and of the
          // weights, early or late; weights that are small against their scale; NaN or infinity among them;
          // only zeros; those that underflow in the copy.
          for (const char* const kind : {"plain", "early", "late", "small", "nan", "zero", "wide"}) {
            if ((format != Format::e4m3 || !two) && n != 1025) continue;
            const std::string_view what = kind;
            State start(formats, n, two);
            const FormatSpec code = spec(formats.weight);
            const bool whole = formats.weight == Format::fp32 || formats.weight == Format::bf16;
            if (what == "early" || what == "late") {
              const int64_t at = what == "early" ? n / 9 : n - 1;
              start.weight.set_code(
                  at, whole ? start.weight.code(at) + (3u << code.mantissa_bits) : code.max_code);
            }
            if (what == "small") {
              std::vector<float> x = start.weight.values();
              for (float& v : x) v *= 0x1p-7f;
              start.weight.set(x);
            }
            if (what == "nan") start.weight.set_code(n / 2, code.nan_code);
            if (what == "zero") start.weight.set(std::vector<float>(static_cast<size_t>(n)));
            if (what == "wide") {
              std::vector<float> x = start.weight.values();
              for (int64_t i = 0; i < n; ++i)
                x[static_cast<size_t>(i)] *= std::ldexp(1.0f, -static_cast<int>(i % 23));
              start.weight.set(x);
            }
            ThreadPool one(1);
            const CodeRule rule{n == 70 ? Rounding::stochastic : Rounding::nearest_even,
                                n == 1025 ? Overflow::inf : Overflow::saturate, 5};
            const StepOutput fixed{.weight = {start.weight.scale(), rule},
                                   .moment1 = {start.moment1.scale()},
                                   .moment2 = {start.moment2.scale()}};
            // The last scale of the copy: that of the weights before the step, of another octave, or none
            // yet.
            const float top = largest(start.weight.values());
            const float right = scale_from_bias(pow2_bias(top, format, 1, kFloatBiasRange).value_or(3));
            for (const float scale : {right, right * 4, right / 2, 1.0f})
              for (const bool fit : {true, false})
                for_each_isa([&] {
                  for (const int threads : {1, 3}) {
                    if (threads > 1 && n < 8192) continue;
                    ThreadPool pool(threads);
                    State s = start;
                    StepOutput output = fixed;
                    if (fit)
                      output.weight.fit_margin = output.moment1.fit_margin = output.moment2.fit_margin = 0;
                    State bare = start;
                    const StepSeen without = step(bare, output, pool);
                    std::vector<uint8_t> codes(static_cast<size_t>(n * bytes(format)), 0xa5);
                    output.copy = {codes.data(), format, scale, 1};
                    const StepSeen seen = step(s, output, pool);
                    // The step itself is the same.
                    ASSERT_EQ(s.weight.memory(), bare.weight.memory());
                    ASSERT_EQ(s.moment1.memory(), bare.moment1.memory());
                    ASSERT_EQ(s.moment2.memory(), bare.moment2.memory());
                    ASSERT_EQ(seen.weight_scale, without.weight_scale);
                    ASSERT_NO_FATAL_FAILURE(expect_copy(s, seen, output.copy, codes)) << kind << ' ' << n;
                  }
                });
          }
}

/// Parts of a tensor, as processes own them: each has the scale of its part.
TEST(OptimizerState, CopyOfARange) {
  const int64_t n = 30000, first = 8200, count = 9001;
  for_each_isa([&] {
    ThreadPool pool(2);
    State s(kSets[0], n, true);
    std::vector<uint8_t> codes(static_cast<size_t>(n), 0xa5);
    const OptimizerState whole = s.view();
    const OptimizerState part{from(whole.weight, first), from(whole.grad, first), from(whole.moment1, first),
                              from(whole.moment2, first)};
    const CopyOut copy{codes.data() + first, Format::e4m3, 0x1p-7f, 0};
    const StoreAs as{.rule = {}, .fit_margin = 0};
    const StepSeen seen = adamw(kAdam, part, {as, as, as, copy}, count, pool);
    State owned(kSets[0], count, true);
    for (int64_t i = 0; i < count; ++i) owned.weight.set_code(i, s.weight.code(first + i));
    expect_copy(owned, seen, copy, {codes.begin() + first, codes.begin() + first + count});
    std::fill_n(codes.begin() + first, count, uint8_t{0xa5});
    EXPECT_EQ(codes, std::vector<uint8_t>(static_cast<size_t>(n), 0xa5));
  });
}

TEST(OptimizerState, KeepsTheScaleWhenNoAmaxIsUsable) {
  ThreadPool pool(2);
  for_each_isa([&] {
    State s(kSets[0], 5000, true);
    s.grad.set_code(77, spec(Format::e4m3).nan_code);
    const float before = s.weight.view().scale;
    const StepSeen seen = step(s, {.weight = {.fit_margin = 0}, .moment1 = {0x1p-13f}, .moment2 = {1}}, pool);
    EXPECT_EQ(seen.weight_scale, before);
    EXPECT_TRUE(std::isnan(seen.weight.amax));
    EXPECT_TRUE(std::isnan(s.weight.value(77)));
  });
}

}  // namespace
}  // namespace octavo
