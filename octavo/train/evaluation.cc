// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/evaluation.h"

#include <algorithm>
#include <vector>

#include "octavo/comm/collectives.h"

namespace octavo {

LossSum evaluate_loss(Transformer& model, const SampleLoader& data, int64_t batch, int64_t batches,
                      const std::function<void(int64_t, int64_t)>& progress, CommThread* comm) {
  const int64_t seq = data.seq_len(), all = static_cast<int64_t>(data.samples_per_epoch());
  const int64_t samples = batches == 0 ? all : std::min(all, batches * batch);
  const int64_t processes = comm ? comm->size() : 1, process = comm ? comm->rank() : 0;
  const size_t rows = static_cast<size_t>(batch * seq);
  std::vector<int32_t> tokens(rows), targets(rows), positions(rows);
  for (size_t r = 0; r < rows; ++r) positions[r] = static_cast<int32_t>(r % static_cast<size_t>(seq));
  const std::vector<Scaler::Memory> state = model.scaler().snapshot();
  const int64_t count_all = (samples + batch - 1) / batch, rounds = (count_all + processes - 1) / processes;
  std::vector<LossSum> sums(static_cast<size_t>(rounds * processes));  // [round][process]
  for (int64_t round = 0; round < rounds; ++round) {
    // Where weights come from others while a pass runs, all processes must run as many passes.
    const int64_t place = round * processes + process, number = std::min(place, count_all - 1);
    const int64_t first = number * batch, count = std::min(batch, samples - first);
    data.batch(static_cast<uint64_t>(first), count, tokens.data(), targets.data());
    const LossSum sum = model.evaluate({count, seq, tokens.data(), positions.data()}, targets.data());
    if (place < count_all) sums[static_cast<size_t>(place)] = sum;
    model.scaler().restore(state);
    if (progress) progress(first + count, samples);
  }
  if (processes > 1) {
    std::vector<LossSum> own(static_cast<size_t>(rounds)), gathered(sums.size());
    for (size_t r = 0; r < own.size(); ++r)
      own[r] = sums[r * static_cast<size_t>(processes) + static_cast<size_t>(process)];
    comm->run([&](Communicator& c) {
      all_gather(c, std::as_bytes(std::span(own)), std::as_writable_bytes(std::span(gathered)),
                 {Traffic::control, "losses of an evaluation"});
    });
    for (size_t i = 0; i < sums.size(); ++i)
      sums[i] =
          gathered[i % static_cast<size_t>(processes) * own.size() + i / static_cast<size_t>(processes)];
  }
  LossSum total;
  for (const LossSum& sum : sums) {
    total.loss += sum.loss;
    total.tokens += sum.tokens;
  }
  return total;
}

}  // namespace octavo
