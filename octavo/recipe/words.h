// SPDX-License-Identifier: Apache-2.0
// The words of the file format for each enum; reading and writing share these tables.
#pragma once
#include <span>
#include <string_view>

#include "octavo/recipe/recipe.h"

namespace octavo {

template <class E>
struct Word {
  std::string_view text;
  E value;
};

template <class E>
std::span<const Word<E>> words();

template <>
std::span<const Word<Format>>
words<Format>();  ///< element formats; e8m0 is a scale format and not among them
template <>
std::span<const Word<Rounding>> words<Rounding>();
template <>
std::span<const Word<Overflow>> words<Overflow>();
template <>
std::span<const Word<ScalingKind>> words<ScalingKind>();
template <>
std::span<const Word<Statistic>> words<Statistic>();
template <>
std::span<const Word<Reading>> words<Reading>();
template <>
std::span<const Word<Counting>> words<Counting>();
template <>
std::span<const Word<AmaxGroup>> words<AmaxGroup>();
template <>
std::span<const Word<Accumulate>> words<Accumulate>();
template <>
std::span<const Word<ReduceSum>> words<ReduceSum>();
template <>
std::span<const Word<GradientDivision>> words<GradientDivision>();

template <class E>
std::string_view word(E value) {
  for (const auto& w : words<E>())
    if (w.value == value) return w.text;
  return "?";
}

/// "none", "static:1024", "dynamic", "unit", "jump:16@500".
std::string loss_word(const LossSpec& loss);

}  // namespace octavo
