// SPDX-License-Identifier: Apache-2.0
// Who owns what: of each parameter, or part of one, one data-parallel rank sums the gradient and makes the
// update.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "octavo/nn/parameter.h"

namespace octavo {

/// Owner of each tensor: by falling size, each goes to the rank with the least so far (arXiv:2310.18313,
/// algorithm 1; equal sizes in their order, equal loads to the lower rank). Tensors stay whole, as one scale
/// serves all of one. The largest load is at most (4/3 - 1/(3 ranks)) times the best possible (Graham 1969).
std::vector<int> assign_tensors(std::span<const int64_t> sizes, int ranks);

struct Shard {
  size_t parameter = 0;
  Elements part;
  int owner = 0;
};

/// All parts of all parameters, in their order. Those that are to stay `whole` go by assign_tensors() of the
/// bytes of their state; the elements of the others, in a row, are cut evenly at multiples of 64.
std::vector<Shard> make_shards(const ParameterSet& parameters, const std::vector<bool>& whole, int ranks);

}  // namespace octavo
