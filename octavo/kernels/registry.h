// SPDX-License-Identifier: Apache-2.0
// Which variant of the element-wise kernels runs: the best one that is compiled in, that the CPU can run and
// that max_isa() allows. GEMM and attention choose for themselves in the same way.
#pragma once
#include <string>
#include <vector>

#include "octavo/base/cpu.h"
#include "octavo/kernels/row_kernels.h"

namespace octavo {

/// The kernels for this call. Cheap: max_isa() may change between calls (tests do that).
const RowKernels& row_kernels();

/// One line for each compiled variant, best first: "avx512", or "avx2 (not used: ...)" with the reason why
/// not.
std::vector<std::string> kernel_variants();

}  // namespace octavo
