// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/evaluation.h"

#include <algorithm>
#include <vector>

namespace octavo {

LossSum evaluate_loss(Transformer& model, const SampleLoader& data, int64_t batch, int64_t batches,
                      const std::function<void(int64_t, int64_t)>& progress) {
  const int64_t seq = data.seq_len(), all = static_cast<int64_t>(data.samples_per_epoch());
  const int64_t samples = batches == 0 ? all : std::min(all, batches * batch);
  const size_t rows = static_cast<size_t>(batch * seq);
  std::vector<int32_t> tokens(rows), targets(rows), positions(rows);
  for (size_t r = 0; r < rows; ++r) positions[r] = static_cast<int32_t>(r % static_cast<size_t>(seq));
  LossSum total;
  for (int64_t first = 0; first < samples; first += batch) {
    const int64_t count = std::min(batch, samples - first);
    data.batch(static_cast<uint64_t>(first), count, tokens.data(), targets.data());
    const LossSum sum = model.evaluate({count, seq, tokens.data(), positions.data()}, targets.data());
    total.loss += sum.loss;
    total.tokens += sum.tokens;
    if (progress) progress(first + count, samples);
  }
  return total;
}

}  // namespace octavo
