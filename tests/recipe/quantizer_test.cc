// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/quantizer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "octavo/base/error.h"

namespace octavo {
namespace {

/// A matrix, its codes and scales.
class Quantizer : public ::testing::Test {
 protected:
  static constexpr int64_t kRows = 5, kCols = 37;
  Quantizer() : x_(kRows * kCols), codes_(kRows * kCols * 4), scales_(kCols, -1.0f) {
    for (int64_t i = 0; i < kRows * kCols; ++i)
      x_[static_cast<size_t>(i)] =
          static_cast<float>(std::sin(0.7 * static_cast<double>(i)) * std::exp2(i % 11 - 5));
  }

  ConstMatrix x() const { return dense(x_.data(), Format::fp32, kRows, kCols); }
  ScaledTensor run(Scaler& scaler, Scaler::Slot slot, std::optional<float> known = std::nullopt,
                   QuantizeStats* stats = nullptr, bool by_column = false) {
    ScaledTensor out;
    out.codes = dense(codes_.data(), scaler.spec(slot).format, kRows, kCols);
    out.scales = scales_.data();
    QuantizeRequest request;
    request.x = x();
    request.amax = known;
    request.stats = stats;
    request.by_column = by_column;
    quantize_tensor(scaler, slot, request, out, pool_);
    return out;
  }
  /// Half a unit in the last place of a three-bit mantissa, or half of the smallest e4m3 step, whichever is
  /// larger.
  void expect_close(float scale, int64_t i) const {
    const float value = decode(codes_[static_cast<size_t>(i)]) * scale, exact = x_[static_cast<size_t>(i)];
    EXPECT_LE(std::fabs(value - exact), std::max(std::fabs(exact) / 16, 0x1p-10f * scale)) << i;
  }
  static float decode(uint8_t code) {
    const int exponent = code >> 3 & 15, mantissa = code & 7;
    const float value = exponent ? std::ldexp(8.0f + static_cast<float>(mantissa), exponent - 10)
                                 : std::ldexp(static_cast<float>(mantissa), -9);
    return code & 0x80 ? -value : value;
  }
  float largest() const {
    float m = 0;
    for (const float v : x_) m = std::max(m, std::fabs(v));
    return m;
  }
  static RoleSpec e4m3(ScalingKind kind) {
    RoleSpec spec;
    spec.format = Format::e4m3;
    spec.scaling.kind = kind;
    return spec;
  }

  ThreadPool pool_{1};
  std::vector<float> x_;
  std::vector<uint8_t> codes_;
  std::vector<float> scales_;
};

TEST_F(Quantizer, CurrentPerTensor) {
  Scaler scaler;
  const auto slot = scaler.add("x", e4m3(ScalingKind::current));
  QuantizeStats stats;
  const ScaledTensor out = run(scaler, slot, std::nullopt, &stats);
  EXPECT_EQ(out.granularity.kind, Granularity::tensor);
  EXPECT_EQ(scales_[0], scale_from_amax(e4m3(ScalingKind::current), largest()));
  EXPECT_EQ(scaler.last_amax(slot), largest());
  EXPECT_EQ(scales_[1], -1.0f);
  EXPECT_EQ(stats.count, kRows * kCols);
  EXPECT_EQ(stats.saturated, 0);
  for (int64_t i = 0; i < kRows * kCols; ++i) expect_close(scales_[0], i);
  // The same when the amax is known beforehand.
  const std::vector<uint8_t> first = codes_;
  run(scaler, slot, largest());
  EXPECT_EQ(codes_, first);
}

TEST_F(Quantizer, AKnownAmaxIsBelieved) {
  Scaler scaler;
  const auto slot = scaler.add("x", e4m3(ScalingKind::current));
  run(scaler, slot, 448.0f * 8);
  EXPECT_EQ(scales_[0], 8.0f);
}

TEST_F(Quantizer, CurrentPerRow) {
  Scaler scaler;
  RoleSpec spec = e4m3(ScalingKind::current);
  spec.granularity.kind = Granularity::row;
  for (int64_t c = 0; c < kCols; ++c) x_[static_cast<size_t>(2 * kCols + c)] = 0;
  run(scaler, scaler.add("x", spec));
  for (int64_t r = 0; r < kRows; ++r) {
    float row = 0;
    for (int64_t c = 0; c < kCols; ++c)
      row = std::max(row, std::fabs(x_[static_cast<size_t>(r * kCols + c)]));
    const float scale = scales_[static_cast<size_t>(r)];
    EXPECT_EQ(scale, scale_from_amax(spec, row).value_or(1.0f)) << r;
    for (int64_t c = 0; c < kCols; ++c) expect_close(scale, r * kCols + c);
  }
  EXPECT_EQ(scales_[2], 1.0f);
}

TEST_F(Quantizer, CurrentPerColumn) {
  Scaler scaler;
  RoleSpec spec = e4m3(ScalingKind::current);
  spec.granularity.kind = Granularity::row;
  for (int64_t r = 0; r < kRows; ++r) x_[static_cast<size_t>(r * kCols + 2)] = 0;
  EXPECT_TRUE(run(scaler, scaler.add("x", spec), std::nullopt, nullptr, true).by_column);
  for (int64_t c = 0; c < kCols; ++c) {
    float column = 0;
    for (int64_t r = 0; r < kRows; ++r)
      column = std::max(column, std::fabs(x_[static_cast<size_t>(r * kCols + c)]));
    const float scale = scales_[static_cast<size_t>(c)];
    EXPECT_EQ(scale, scale_from_amax(spec, column).value_or(1.0f)) << c;
    for (int64_t r = 0; r < kRows; ++r) expect_close(scale, r * kCols + c);
  }
  EXPECT_EQ(scales_[2], 1.0f);
  // A scale of the whole tensor runs neither way.
  EXPECT_FALSE(
      run(scaler, scaler.add("y", e4m3(ScalingKind::current)), std::nullopt, nullptr, true).by_column);
}

TEST_F(Quantizer, DelayedMeasuresInTheSamePass) {
  Scaler scaler;
  RoleSpec spec = e4m3(ScalingKind::delayed);
  spec.scaling.window = 2;
  const auto slot = scaler.add("x", spec);
  run(scaler, slot);
  const float first = scales_[0], before = largest();
  EXPECT_EQ(first, scale_from_amax(spec, before));
  for (float& v : x_) v *= 64;
  run(scaler, slot);
  EXPECT_EQ(scales_[0], first);
  run(scaler, slot);
  EXPECT_EQ(scales_[0], first * 64);
  EXPECT_EQ(scaler.state()[0].values, (std::vector<float>{first * 64, before * 64, before * 64}));
}

TEST_F(Quantizer, ANanIsSeen) {
  Scaler scaler;
  const auto current = scaler.add("current", e4m3(ScalingKind::current));
  const auto later = scaler.add("delayed", e4m3(ScalingKind::delayed));
  run(scaler, current);
  run(scaler, later);
  EXPECT_EQ(scaler.nonfinite(), 0);
  x_[50] = std::numeric_limits<float>::quiet_NaN();
  run(scaler, current);
  run(scaler, later);
  EXPECT_EQ(scaler.nonfinite(current), 1);
  EXPECT_EQ(scaler.nonfinite(later), 1);
}

TEST_F(Quantizer, ConstantAndPlain) {
  Scaler scaler;
  RoleSpec spec = e4m3(ScalingKind::constant);
  spec.scaling.exponent = 4;
  run(scaler, scaler.add("constant", spec));
  EXPECT_EQ(scales_[0], 0x1p-4f);
  const std::vector<uint8_t> scaled = codes_;
  for (float& v : x_) v *= 16;
  run(scaler, scaler.add("plain", e4m3(ScalingKind::none)));
  EXPECT_EQ(scales_[0], 1.0f);
  EXPECT_EQ(codes_, scaled);
}

TEST_F(Quantizer, Fp32AndBf16HaveNoScale) {
  Scaler scaler;
  RoleSpec spec;
  spec.format = Format::fp32;
  ScaledTensor out;
  out.codes = dense(codes_.data(), Format::fp32, kRows, kCols);
  QuantizeRequest request;
  request.x = x();
  quantize_tensor(scaler, scaler.add("fp32", spec), request, out, pool_);
  const float* copy = reinterpret_cast<const float*>(codes_.data());
  EXPECT_EQ(std::vector<float>(copy, copy + kRows * kCols), x_);
}

TEST_F(Quantizer, BlocksAreRefused) {
  Scaler scaler;
  RoleSpec spec = e4m3(ScalingKind::current);
  spec.granularity = {Granularity::block, 1, 128};
  const auto slot = scaler.add("x", spec);
  EXPECT_THROW(run(scaler, slot), Error);
}

}  // namespace
}  // namespace octavo
