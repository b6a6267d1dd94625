// SPDX-License-Identifier: Apache-2.0
// The colours of page and pictures. Lines begin with blue, vermilion and green after Okabe and Ito's set; all
// were chosen so that any two stay apart for people who lack one kind of cone (tests/report/test_palette.cc),
// and stand out from their background. The ramp rises evenly in lightness, from blue to yellow, so it also
// reads in grey.
#pragma once
#include <array>
#include <string>

namespace octavo {

struct LineColour {
  const char* on_light;
  const char* on_dark;
};
inline constexpr std::array<LineColour, 8> kLineColours{{{"#0072b2", "#4ba3dc"},
                                                         {"#d55e00", "#f08a3c"},
                                                         {"#008a63", "#2fc194"},
                                                         {"#9a30e0", "#a878f0"},
                                                         {"#8a3a1a", "#e8e070"},
                                                         {"#1a287c", "#a85a3a"},
                                                         {"#26301c", "#a8f0f0"},
                                                         {"#58203c", "#6a68c8"}}};
/// Of the run that others are compared with.
inline constexpr LineColour kBaselineColour{"#6b7280", "#9aa4b2"};

inline constexpr std::array<std::array<int, 3>, 7> kRamp{{{68, 57, 132},
                                                          {52, 96, 141},
                                                          {38, 130, 142},
                                                          {41, 164, 131},
                                                          {99, 195, 97},
                                                          {189, 213, 62},
                                                          {245, 222, 90}}};

/// "#rrggbb" at `share` of the ramp, 0..1.
std::string ramp_colour(double share);

}  // namespace octavo
