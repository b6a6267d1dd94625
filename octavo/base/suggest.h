// SPDX-License-Identifier: Apache-2.0
// "did you mean ...?" for keys, recipes, presets and flags.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace octavo {

/// Levenshtein distance with adjacent transpositions counted as one edit.
int edit_distance(std::string_view a, std::string_view b);

/// The nearest of `known` to `word`, or "" when none is within a third of the word's length (at least 2
/// edits).
std::string nearest(std::string_view word, std::span<const std::string> known);

/// " (did you mean 'x'?)" or "; known: a, b, c" when nothing is near.
std::string did_you_mean(std::string_view word, const std::vector<std::string>& known);

}  // namespace octavo
