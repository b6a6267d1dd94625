// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/rank_gradients.h"

#include <fmt/format.h>

#include <algorithm>

#include "octavo/base/error.h"
#include "octavo/report/tensor_name.h"
#include "octavo/train/loss_scaler.h"

namespace octavo {
namespace {

/// The layers, with the rules of `recipe`, which those of the model are not.
std::vector<LayerGradients> layers_of(const Transformer& model, const Recipe& recipe) {
  ThreadPool alone(1);
  const Transformer as_trained(model.config(), recipe, Purpose::training, alone);  // never allocated
  std::vector<LayerGradients> layers;
  for (const Parameter& p : as_trained.parameters().all())
    if (const int block = layer_index(p.name); block >= 0 && carries_scale(p.wire.format))
      layers.push_back({p.name, block, p.size(), p.wire, {}});
  if (layers.empty())
    fail_unsupported(fmt::format(
        "recipe {} sends gradients in {}, which has no scale; fp8-lm-o1 to fp8-lm-o3 send them in FP8",
        recipe.name, spec(recipe.role(Role::comm_weight_grad).format).name));
  return layers;
}

}  // namespace

std::vector<LayerGradients> rank_gradients(Transformer& model, const Recipe& recipe,
                                           const SampleLoader& samples, int64_t batch, int ranks,
                                           int64_t steps,
                                           const std::function<void(const std::string&)>& progress) {
  std::vector<LayerGradients> layers = layers_of(model, recipe);
  const int64_t seq = samples.seq_len(), rows = batch * seq;
  std::vector<int32_t> tokens(static_cast<size_t>(rows)), targets(tokens.size()), positions(tokens.size());
  for (int64_t r = 0; r < rows; ++r) positions[static_cast<size_t>(r)] = static_cast<int32_t>(r % seq);
  const LossScaler loss(model.recipe().loss, rows, model.config().width);
  const auto loss_scale = static_cast<float>(loss.scale(LossScaleState{}));
  Pass& pass = model.pass();
  Scaler& scaler = model.scaler();
  scaler.keep_journal();
  for (int64_t step = 0; step < steps; ++step) {
    if (progress) progress(fmt::format("gradients: step {} of {}", step + 1, steps));
    const std::vector<Scaler::Memory> before = scaler.snapshot();
    std::vector<Scaler::Observation> joined;
    for (int r = 0; r < ranks; ++r) {
      scaler.restore(before);
      scaler.take_journal();
      pass.quantizations = static_cast<uint64_t>(r) << 24;
      const auto first = static_cast<uint64_t>((step * ranks + r) * batch);
      samples.batch(first, batch, tokens.data(), targets.data());
      int64_t counted = 0;
      for (int64_t b = 0; b < batch; ++b) counted += samples.counted(first + static_cast<uint64_t>(b));
      model.parameters().zero_gradients(pass.pool);
      model.train({batch, seq, tokens.data(), positions.data()}, targets.data(),
                  loss_scale / static_cast<float>(std::max<int64_t>(1, counted)));
      for (LayerGradients& layer : layers) {
        const Parameter& p = *model.parameters().find(layer.name);
        layer.of_batch.emplace_back(p.grad, p.grad + p.size());
      }
      const std::vector<Scaler::Observation> journal = scaler.take_journal();
      if (r == 0) joined = journal;
      for (size_t i = 0; i < joined.size(); ++i) joined[i].amax = std::max(joined[i].amax, journal[i].amax);
    }
    scaler.restore(before);
    scaler.replay(joined);
  }
  return layers;
}

}  // namespace octavo
