// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/scaler.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <limits>

#include "error_of.h"
#include "octavo/base/error.h"
#include "octavo/numerics/scale.h"

namespace octavo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

RoleSpec spec_of(Format format, ScalingKind kind, bool pow2 = true, int margin = 0) {
  RoleSpec spec;
  spec.format = format;
  spec.scaling.kind = kind;
  spec.scaling.pow2 = pow2;
  spec.scaling.margin = margin;
  return spec;
}

RoleSpec delayed(int window, Statistic statistic = Statistic::max) {
  RoleSpec spec = spec_of(Format::e4m3, ScalingKind::delayed);
  spec.scaling.window = window;
  spec.scaling.statistic = statistic;
  return spec;
}

/// The largest power of two b with amax * 2^b <= limit, by trying; then the margin, then the clip to FP32.
float brute_scale(float amax, double limit, int margin) {
  int b = -400;
  while (std::ldexp(static_cast<double>(amax), b + 1) <= limit) ++b;
  b = std::clamp(b - margin, -126, 126);
  return static_cast<float>(std::ldexp(1.0, -b));
}

TEST(CurrentScaling, PowersOfTwoAtEveryExponent) {
  const struct {
    Format format;
    double limit;
  } formats[] = {{Format::e4m3, 448},
                 {Format::e5m2, 57344},
                 {Format::e4m3fnuz, 240},
                 {Format::e5m2fnuz, 57344},
                 {Format::fp16, 65504}};
  for (const auto& [format, limit] : formats) {
    for (const int margin : {0, 3, -2}) {
      const RoleSpec spec = spec_of(format, ScalingKind::current, true, margin);
      for (uint32_t exponent = 0; exponent < 255; ++exponent) {
        // Around the point where the mantissa passes that of the limit, and the ends of the octave.
        for (const uint32_t mantissa : {1u, 0x5fffffu, 0x600000u, 0x600001u, 0x6fffffu, 0x700000u, 0x700001u,
                                        0x7fbfffu, 0x7fe000u, 0x7fffffu, 0u}) {
          const float amax = std::bit_cast<float>(exponent << 23 | mantissa);
          if (amax == 0) continue;
          ASSERT_EQ(scale_from_amax(spec, amax), brute_scale(amax, limit, margin))
              << to_string(format) << " " << amax << " margin " << margin;
        }
      }
    }
  }
}

TEST(CurrentScaling, Fp32Scales) {
  const RoleSpec spec = spec_of(Format::e4m3, ScalingKind::current, false);
  EXPECT_EQ(scale_from_amax(spec, 448.0f), 1.0f);
  EXPECT_EQ(scale_from_amax(spec, 3.0f), 3.0f / 448.0f);
  EXPECT_EQ(scale_from_amax(spec_of(Format::e4m3, ScalingKind::current, false, 2), 3.0f), 3.0f / 448.0f * 4);
  // The inverse of every scale must be a normal number.
  EXPECT_EQ(scale_from_amax(spec, 1e-45f), 0x1p-126f);
  EXPECT_EQ(scale_from_amax(spec_of(Format::e4m3, ScalingKind::current, false, 64), 3e38f), 0x1p126f);
}

TEST(CurrentScaling, UselessAmaxesKeepTheLastScale) {
  for (const bool pow2 : {true, false}) {
    Scaler scaler;
    const auto slot = scaler.add("x", spec_of(Format::e4m3, ScalingKind::current, pow2));
    EXPECT_TRUE(scaler.needs_amax(slot));
    EXPECT_FALSE(scaler.wants_observation(slot));
    EXPECT_EQ(scaler.scale_for(slot, 0.0f), 1.0f);
    EXPECT_EQ(scaler.nonfinite(slot), 0);
    const float scale = scaler.scale_for(slot, 7.0f);
    EXPECT_EQ(scale, 7.0f / 448.0f);  // 2^-6, exact either way
    EXPECT_EQ(scaler.scale_for(slot, 0.0f), scale);
    EXPECT_EQ(scaler.nonfinite(), 0);
    EXPECT_EQ(scaler.scale_for(slot, kInf), scale);
    EXPECT_EQ(scaler.scale_for(slot, kNan), scale);
    EXPECT_TRUE(std::isnan(scaler.last_amax(slot)));
    EXPECT_EQ(scaler.nonfinite(slot), 2);
    EXPECT_EQ(scaler.nonfinite(), 2);
    scaler.clear_nonfinite();
    EXPECT_EQ(scaler.nonfinite(), 0);
    EXPECT_EQ(scaler.scale_for(slot, 448.0f), 1.0f);
  }
}

TEST(OtherScalings, NeedNoAmax) {
  Scaler scaler;
  const auto none = scaler.add("none", spec_of(Format::e4m3, ScalingKind::none));
  const auto fixed = scaler.add("static", spec_of(Format::e4m3, ScalingKind::static_));
  RoleSpec spec = spec_of(Format::e5m2, ScalingKind::constant);
  spec.scaling.exponent = 3;
  const auto constant = scaler.add("constant", spec);
  spec.scaling.exponent = -126;
  const auto extreme = scaler.add("extreme", spec);
  for (const auto slot : {none, fixed, constant, extreme}) EXPECT_FALSE(scaler.needs_amax(slot));
  EXPECT_EQ(scaler.scale_for(none), 1.0f);
  EXPECT_EQ(scaler.scale_for(fixed), 1.0f);
  EXPECT_EQ(scaler.scale_for(constant), 0.125f);  // codes are the cast of x * 2^3
  EXPECT_EQ(scaler.scale_for(extreme), 0x1p126f);
  EXPECT_THAT(scaler.state(), IsEmpty());
}

TEST(Slots, AreSharedByNameAndRule) {
  Scaler scaler;
  const auto a = scaler.add("a", delayed(4));
  EXPECT_EQ(scaler.add("a", delayed(4)), a);
  EXPECT_NE(scaler.add("b", delayed(4)), a);
  EXPECT_EQ(scaler.size(), 2);
  EXPECT_EQ(scaler.name(a), "a");
  EXPECT_THROW(scaler.add("a", delayed(5)), Error);
  RoleSpec rows = spec_of(Format::e4m3, ScalingKind::mse);
  rows.granularity.kind = Granularity::row;
  RoleSpec automatic_rows = rows;
  automatic_rows.scaling.kind = ScalingKind::automatic;
  for (const RoleSpec& spec : {automatic_rows, rows}) {
    try {
      scaler.add("c", spec);
      FAIL();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::unsupported);
    }
  }
  EXPECT_EQ(scaler.size(), 2);
}

TEST(AutoScaling, BothReadingsOfThePaper) {
  RoleSpec spec = spec_of(Format::e4m3, ScalingKind::automatic);
  spec.scaling.growth_steps = 10;
  spec.scaling.threshold = 1e-3;
  RoleSpec absolute = spec;
  absolute.scaling.reading = Reading::absolute;
  Scaler scaler;
  const auto factor_slot = scaler.add("factor", spec), absolute_slot = scaler.add("absolute", absolute);
  for (const auto slot : {factor_slot, absolute_slot}) {
    EXPECT_TRUE(scaler.needs_amax(slot));
    EXPECT_EQ(scaler.mu(slot), 1);
    EXPECT_EQ(scaler.scale_for(slot, 448.0f), 1);
    scaler.adapt(slot, 2e-3);
    EXPECT_EQ(scaler.mu(slot), 0.5f);
    EXPECT_EQ(scaler.scale_for(slot, 448.0f), 2) << "half of the codes' range is left free";
    scaler.adapt(slot, 2e-3);
  }
  EXPECT_EQ(scaler.mu(factor_slot), 0.25f);
  EXPECT_EQ(scaler.mu(absolute_slot), 0.5f);
  for (int i = 0; i < 10; ++i)
    for (const auto slot : {factor_slot, absolute_slot})
      scaler.adapt(slot, 1e-3);  // at the threshold: not above
  EXPECT_NEAR(scaler.mu(factor_slot), 0.5, 1e-6) << "doubled in growth_steps";
  EXPECT_NEAR(scaler.mu(absolute_slot), 2, 1e-6) << "from 1/2 to 2 in growth_steps";
  for (int i = 0; i < 5; ++i)
    for (const auto slot : {factor_slot, absolute_slot}) scaler.adapt(slot, 0);
  EXPECT_NEAR(scaler.mu(factor_slot), std::sqrt(0.5), 1e-6);
  EXPECT_EQ(scaler.mu(absolute_slot), 2);
  // At 2 the largest values saturate.
  EXPECT_EQ(scaler.scale_for(absolute_slot, 448.0f), 0.5f);

  Scaler again;
  again.add("factor", spec);
  again.add("absolute", absolute);
  again.restore(scaler.state());
  for (const auto slot : {factor_slot, absolute_slot}) {
    EXPECT_EQ(again.mu(slot), scaler.mu(slot));
    EXPECT_EQ(again.last_scale(slot), scaler.last_scale(slot));
  }
  std::vector<NamedState> broken = scaler.state();
  broken[0].values.pop_back();
  EXPECT_THAT(error_of([&] { again.restore(broken); }), HasSubstr("1 values, but 2 to 2"));
  broken[0].values.push_back(0);
  EXPECT_THAT(error_of([&] { again.restore(broken); }), HasSubstr("the factor 0"));
}

TEST(Replicas, JoinedJournalsGiveTheSameMemoryInAnyOrder) {
  // Three replicas observe twice each; one of them sees a NaN.
  const float seen[3][2] = {{1, 8}, {4, kNan}, {2, 16}};
  const auto run = [&](Scaler& scaler, int replica) {
    for (const float amax : seen[replica]) scaler.observe(0, amax);
    return scaler.take_journal();
  };
  std::vector<std::vector<float>> states;
  for (const std::vector<int>& order : {std::vector{0, 1, 2}, std::vector{2, 0, 1}}) {
    Scaler scaler;
    scaler.add("x", delayed(5));
    scaler.keep_journal();
    scaler.observe(0, 3);
    scaler.take_journal();
    const auto before = scaler.snapshot();
    std::vector<Scaler::Observation> joined;
    for (const int replica : order) {
      scaler.restore(before);
      const auto journal = run(scaler, replica);
      if (joined.empty()) joined = journal;
      for (size_t i = 0; i < joined.size(); ++i) joined[i].amax = std::max(joined[i].amax, journal[i].amax);
    }
    scaler.restore(before);
    scaler.replay(joined);
    states.push_back(scaler.state()[0].values);
  }
  EXPECT_EQ(states[0], states[1]);
  EXPECT_EQ(states[0], (std::vector<float>{0, 3, 4, 16}));
}

TEST(RowScales, EachRowByItself) {
  Scaler scaler;
  RoleSpec spec = spec_of(Format::e4m3, ScalingKind::current);
  spec.granularity.kind = Granularity::row;
  const auto slot = scaler.add("rows", spec);
  std::vector<float> rows = {448.0f, 0.0f, 7.0f, kInf, 449.0f};
  scaler.row_scales(slot, rows);
  EXPECT_THAT(rows, ElementsAre(1.0f, 1.0f, 0x1p-6f, 1.0f, 2.0f));
  EXPECT_EQ(scaler.nonfinite(slot), 1);
  EXPECT_EQ(scaler.last_amax(slot), kInf);
  EXPECT_THAT(scaler.state(), IsEmpty());
}

/// A history kept the long way.
struct NaiveDelayed {
  RoleSpec spec;
  std::deque<float> history;
  float scale = 1;

  float next(float amax) {
    float value = amax;
    if (!history.empty()) {
      value = history.back();
      if (spec.scaling.statistic == Statistic::max)
        for (const float h : history) value = std::max(value, h);
    }
    if (std::isfinite(value) && value > 0) scale = brute_scale(value, 448, 0);
    if (std::isfinite(amax)) history.push_back(amax);
    if (history.size() > static_cast<size_t>(spec.scaling.window)) history.pop_front();
    return scale;
  }
};

float step(Scaler& scaler, Scaler::Slot slot, float amax) {
  // An amax that must not be looked at is not handed over.
  const float scale = scaler.scale_for(slot, scaler.needs_amax(slot) ? amax : kNan);
  scaler.observe(slot, amax);
  return scale;
}

float some_amax(uint64_t i) {
  if (i % 17 == 3) return 0.0f;
  if (i % 23 == 5) return kNan;
  if (i % 29 == 7) return kInf;
  const double magnitude = static_cast<double>(i * 2654435761u % 4001) / 100.0 - 20;
  return static_cast<float>(std::exp2(magnitude));
}

TEST(DelayedScaling, AgreesWithALongHistory) {
  for (const int window : {1, 2, 3, 16, 100}) {
    for (const Statistic statistic : {Statistic::max, Statistic::latest}) {
      Scaler scaler;
      const auto slot = scaler.add("x", delayed(window, statistic));
      NaiveDelayed naive{delayed(window, statistic), {}, 1};
      for (uint64_t i = 0; i < 500; ++i)
        ASSERT_EQ(step(scaler, slot, some_amax(i)), naive.next(some_amax(i))) << window << " step " << i;
      EXPECT_GT(scaler.nonfinite(slot), 20);
    }
  }
}

TEST(DelayedScaling, FirstUseIsJustInTimeThenOneStepBehind) {
  Scaler scaler;
  const auto slot = scaler.add("x", delayed(4, Statistic::latest));
  EXPECT_EQ(step(scaler, slot, 448.0f), 1.0f);
  EXPECT_EQ(step(scaler, slot, 7.0f), 1.0f);
  EXPECT_EQ(step(scaler, slot, 448.0f), 0x1p-6f);
  EXPECT_FALSE(scaler.needs_amax(slot));
  EXPECT_TRUE(scaler.wants_observation(slot));
}

TEST(State, ResumesBitForBitAtEveryStep) {
  const auto fill = [](Scaler& scaler) {
    scaler.add("history", delayed(5));
    scaler.add("latest", delayed(3, Statistic::latest));
    scaler.add("current", spec_of(Format::e5m2, ScalingKind::current, false));
    scaler.add("plain", spec_of(Format::e4m3, ScalingKind::none));
  };
  for (uint64_t cut = 0; cut < 40; ++cut) {
    Scaler whole, resumed;
    fill(whole);
    fill(resumed);
    const auto run = [](Scaler& scaler, uint64_t first, uint64_t last) {
      std::vector<float> scales;
      for (uint64_t i = first; i < last; ++i)
        for (Scaler::Slot slot = 0; slot < scaler.size(); ++slot)
          scales.push_back(step(scaler, slot, some_amax(3 * i + static_cast<uint64_t>(slot))));
      return scales;
    };
    run(whole, 0, cut);
    resumed.restore(whole.state());
    EXPECT_EQ(run(whole, cut, cut + 30), run(resumed, cut, cut + 30)) << cut;
  }
}

TEST(State, IsOldestFirstWhateverTheRing) {
  Scaler scaler;
  const auto slot = scaler.add("x", delayed(3));
  EXPECT_EQ(scaler.state()[0].name, "x");
  EXPECT_THAT(scaler.state()[0].values, ElementsAre(0.0f));
  for (const float amax : {448.0f, 2.0f, 3.0f, 4.0f}) step(scaler, slot, amax);
  EXPECT_THAT(scaler.state()[0].values, ElementsAre(1.0f, 2.0f, 3.0f, 4.0f));
}

TEST(State, BadStateIsRefusedAndChangesNothing) {
  Scaler scaler;
  const auto slot = scaler.add("x", delayed(2));
  scaler.add("plain", spec_of(Format::e4m3, ScalingKind::none));
  step(scaler, slot, 7.0f);
  const auto before = scaler.state();
  const auto message = [&](const std::vector<NamedState>& state) -> std::string {
    try {
      scaler.restore(state);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ExitCode::bad_data);
      return error.what();
    }
    return "(accepted)";
  };
  EXPECT_THAT(message({}), HasSubstr("no entry for 'x'"));
  EXPECT_THAT(message({{"y", {1}}}), HasSubstr("holds 'y', which this model and recipe do not have"));
  EXPECT_THAT(message({{"plain", {1}}}), HasSubstr("holds 'plain', which"));
  EXPECT_THAT(message({{"x", {1}}, {"x", {1}}}), HasSubstr("holds 'x' twice"));
  EXPECT_THAT(message({{"x", {}}}), HasSubstr("'x' has 0 values, but 1 to 3 are expected"));
  EXPECT_THAT(message({{"x", {1, 2, 3, 4}}}), HasSubstr("'x' has 4 values"));
  EXPECT_THAT(message({{"x", {1, kNan}}}), HasSubstr("'x' holds nan"));
  EXPECT_THAT(message({{"x", {-1, 2}}}), HasSubstr("'x' holds -1"));
  ASSERT_EQ(scaler.state().size(), 1u);
  EXPECT_EQ(scaler.state()[0].values, before[0].values);
}

}  // namespace
}  // namespace octavo
