// SPDX-License-Identifier: Apache-2.0
// The slow part of quantize(): counting what was lost.
#pragma once
#include "octavo/kernels/quantize.h"

namespace octavo {

/// Adds to *args.stats, from x and the finished codes. Blocks of rows are summed in a fixed order.
void add_quantize_stats(const QuantizeArgs& args, ThreadPool& pool);

/// All 256 values of an 8-bit format.
const float* decode_table(Format format);

}  // namespace octavo
