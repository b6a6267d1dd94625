// SPDX-License-Identifier: Apache-2.0
#include "octavo/report/palette.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>
#include <vector>

namespace octavo {
namespace {

using Triple = std::array<double, 3>;
using Table = std::array<Triple, 3>;

/// Linear RGB seen with all cones, and without one kind: Machado, Oliveira, Fernandes, IEEE TVCG 15(6), 2009,
/// severity 1.
constexpr Table kEyes[] = {
    {{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}},
    {{{0.152286, 1.052583, -0.204868}, {0.114503, 0.786281, 0.099216}, {-0.003882, -0.048116, 1.051998}}},
    {{{0.367322, 0.860646, -0.227968}, {0.280085, 0.672501, 0.047413}, {-0.011820, 0.042940, 0.968881}}},
    {{{1.255528, -0.076749, -0.178779}, {-0.078411, 0.930809, 0.147602}, {0.004733, 0.691367, 0.303900}}}};

Triple times(const Table& table, const Triple& v) {
  Triple out{};
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 3; ++j) out[i] += table[i][j] * v[j];
  return out;
}

/// Linear RGB, 0..1, of "#rrggbb" (IEC 61966-2-1).
Triple linear(const std::string& colour) {
  Triple out{};
  for (size_t i = 0; i < 3; ++i) {
    const double c = std::stoi(colour.substr(1 + 2 * i, 2), nullptr, 16) / 255.0;
    out[i] = c <= 0.04045 ? c / 12.92 : std::pow((c + 0.055) / 1.055, 2.4);
  }
  return out;
}

double luminance(const Triple& rgb) { return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]; }

/// CIE L*a*b* under D65.
Triple lab(Triple rgb) {
  for (double& c : rgb) c = std::fmin(1, std::fmax(0, c));
  constexpr Table xyz{{{0.4124, 0.3576, 0.1805}, {0.2126, 0.7152, 0.0722}, {0.0193, 0.1192, 0.9505}}};
  constexpr Triple white{0.9505, 1, 1.089};
  Triple f = times(xyz, rgb);
  for (size_t i = 0; i < 3; ++i)
    f[i] = f[i] / white[i] > 0.008856 ? std::cbrt(f[i] / white[i]) : 7.787 * f[i] / white[i] + 16.0 / 116;
  return {116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])};
}

/// The smallest distance over all eyes; 2.3 can just be told apart.
double distance(const std::string& a, const std::string& b) {
  double least = 1e9;
  for (const Table& eye : kEyes) {
    const Triple p = lab(times(eye, linear(a))), q = lab(times(eye, linear(b)));
    least = std::fmin(least, std::hypot(p[0] - q[0], p[1] - q[1], p[2] - q[2]));
  }
  return least;
}

double contrast(const std::string& colour, const std::string& background) {
  const double a = luminance(linear(colour)) + 0.05, b = luminance(linear(background)) + 0.05;
  return std::fmax(a, b) / std::fmin(a, b);
}

TEST(Palette, LinesCanBeToldApartByAllEyes) {
  std::vector<std::string> light{kBaselineColour.on_light}, dark{kBaselineColour.on_dark};
  for (const LineColour& colour : kLineColours) {
    light.emplace_back(colour.on_light);
    dark.emplace_back(colour.on_dark);
  }
  for (const auto& colours : {light, dark})
    for (size_t a = 0; a < colours.size(); ++a)
      for (size_t b = 0; b < a; ++b)
        EXPECT_GT(distance(colours[a], colours[b]), 10) << colours[a] << " " << colours[b];
  for (const std::string& colour : light) EXPECT_GE(contrast(colour, "#ffffff"), 3) << colour;
  for (const std::string& colour : dark) EXPECT_GE(contrast(colour, "#161b22"), 3) << colour;
  EXPECT_LT(distance("#d55e00", "#b07d00"), 5)
      << "these two look alike without green cones: the check can fail";
}

TEST(Palette, TheRampRisesInLightness) {
  double last = -1;
  for (int i = 0; i <= 20; ++i) {
    const double lightness = lab(linear(ramp_colour(i / 20.0)))[0];
    EXPECT_GT(lightness, last) << i;
    last = lightness;
  }
  EXPECT_EQ(ramp_colour(-1), ramp_colour(0));
  EXPECT_EQ(ramp_colour(2), ramp_colour(1));
}

}  // namespace
}  // namespace octavo
