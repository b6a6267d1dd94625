// SPDX-License-Identifier: Apache-2.0
// The colours of page and pictures. Lines: Okabe and Ito's set (jfly.uni-koeln.de/color), which people with
// any colour vision can tell apart, darkened or lightened where it would be faint on its background. The ramp
// rises evenly in lightness, from blue to yellow, so it also reads in grey.
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
                                                         {"#b5568f", "#dc92bd"},
                                                         {"#b07d00", "#e8b53a"},
                                                         {"#4a57b8", "#98a2f2"},
                                                         {"#7a5236", "#c69a7c"},
                                                         {"#40707d", "#7fb9c8"}}};
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
