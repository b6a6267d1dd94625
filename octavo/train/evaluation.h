// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <functional>

#include "octavo/comm/comm_thread.h"
#include "octavo/data/loader.h"
#include "octavo/nn/transformer.h"

namespace octavo {

/// Sum of the losses over samples 0, 1, ... of `data` in batches of `batch` sequences; `batches` 0: one whole
/// epoch. The last batch may be smaller. `progress(done, total)` in samples. Every batch finds the scaler as
/// it is now and leaves no trace in it. With `comm` its processes divide the batches and all get the sum,
/// which is made in the order of the batches.
LossSum evaluate_loss(Transformer& model, const SampleLoader& data, int64_t batch, int64_t batches,
                      const std::function<void(int64_t, int64_t)>& progress = {}, CommThread* comm = nullptr);

}  // namespace octavo
