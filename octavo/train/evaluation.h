// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>

#include "octavo/data/loader.h"
#include "octavo/nn/transformer.h"

namespace octavo {

/// Sum of the losses over samples 0, 1, ... of `data` in batches of `batch` sequences; `batches` 0: one whole
/// epoch. The last batch may be smaller. `progress(done, total)` in samples.
LossSum evaluate_loss(Transformer& model, const SampleLoader& data, int64_t batch, int64_t batches,
                      const std::function<void(int64_t, int64_t)>& progress = {});

}  // namespace octavo
