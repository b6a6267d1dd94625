// SPDX-License-Identifier: Apache-2.0
// The gradients of data-parallel ranks, one after the other, as training computes them.
#pragma once
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "octavo/data/loader.h"
#include "octavo/lab/reduction.h"
#include "octavo/nn/transformer.h"

namespace octavo {

/// Weight gradients in FP32 of the linear layers that `recipe` sends in a format with a scale. Micro-batch i
/// takes samples i * batch, ...; ranks of a step start with the same amax histories, which are joined after
/// it. `model` was allocated for training with FP32 gradients. Throws unsupported when the recipe sends no
/// gradient with a scale.
std::vector<LayerGradients> rank_gradients(Transformer& model, const Recipe& recipe,
                                           const SampleLoader& samples, int64_t batch, int ranks,
                                           int64_t steps,
                                           const std::function<void(const std::string&)>& progress = {});

}  // namespace octavo
