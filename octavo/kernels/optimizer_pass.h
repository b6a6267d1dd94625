// SPDX-License-Identifier: Apache-2.0
// The walk of an optimizer step over its tensors; not for users of the kernels.
#pragma once
#include <functional>

#include "octavo/base/thread_pool.h"
#include "octavo/kernels/optimizer_state.h"
#include "octavo/kernels/row_kernels.h"

namespace octavo {

/// The arithmetic of a step on one stretch.
using RowStep = std::function<void(OptimizerRow& row)>;

/// The same straight to codes, in the formats of FP8-LM; false when it cannot, see RowKernels.
using RowStepToCodes = std::function<bool(OptimizerRow& row, const Fp8LmCodes& out)>;

/// Runs `step` and stores what it gives. `to_codes`, which may be empty, is tried before.
StepSeen run_step(const RowStep& step, const RowStepToCodes& to_codes, const OptimizerState& state,
                  const StepOutput& output, int64_t n, ThreadPool& pool);

/// Runs `step` and keeps only the amaxes. `weight_too` false: `step` has to give the moments alone.
StateAmax run_amax(const RowStep& step, const OptimizerState& state, int64_t n, bool weight_too,
                   ThreadPool& pool);

}  // namespace octavo
