// SPDX-License-Identifier: Apache-2.0
// The power-of-two scale with the smallest squared error, from a histogram of the data instead of the data.
#pragma once
#include <optional>

#include "octavo/kernels/histogram.h"
#include "octavo/numerics/format.h"

namespace octavo {

/// The squared error expected of casting the data to `format` with the bias `bias` (codes of x * 2^bias, to
/// nearest, saturating), in units of x: what lies below half the smallest number is lost, what lies between
/// two numbers is off by a twelfth of their distance squared, what lies above the largest is cut. Magnitudes
/// are taken as equally spread within their bin, the largest as it is. FP32 subnormals count for nothing.
double expected_squared_error(const MagnitudeHistogram& histogram, Format format, int bias);

/// The bias of the least such error, by trying. A bias below that of the amax only coarsens the grid of small
/// numbers, so the search goes from there upwards, where the largest values are cut to make room; of equal
/// ones the first wins. Within -126..126. Nothing for an amax that is zero or not finite.
///
/// The choice follows the code published with arXiv:2309.17224 (cost = underflow^2 + in range x error of the
/// format + overflow^2), with bins of an eighth of an octave for its whole ones. On data that is
/// smooth at that resolution the true error is that of the best bias but for a few per cent. On any
/// data of n elements it is at most that of the amax's bias plus n/4 times the square of the smallest number
/// (at that bias): cutting is only chosen where small numbers are expected to gain as much.
std::optional<int> mse_bias(const MagnitudeHistogram& histogram, Format format);

}  // namespace octavo
