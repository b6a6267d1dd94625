// SPDX-License-Identifier: Apache-2.0
#include "octavo/train/optimizer.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "octavo/kernels/adamw.h"
#include "octavo/kernels/lion.h"
#include "octavo/train/state_watch.h"

namespace octavo {
namespace {

// Draws of stochastic rounding of a parameter's state, beside those of passes and of compute copies: the same
// whichever parameters this process updates.
constexpr uint64_t kStateDraws = uint64_t{1} << 41;

bool from_data(const StateTensor& t) { return t.slot >= 0 && t.spec.scaling.kind == ScalingKind::current; }

/// One parameter's step in the formats its state is kept in, with fresh scales. A power of two is found in
/// the step itself; for other scales the step is computed twice, as in the two stages of the code of
/// arXiv:2310.18313.
template <class Params>
void update(const Params& params, Parameter& p, const std::vector<Weight*>& weights, Pass& pass,
            ThreadPool& pool) {
  constexpr bool kAdam = std::is_same_v<Params, AdamWParams>;
  const int64_t first = p.owned.first, n = p.owned.count;
  OptimizerState state{p.master.from(first), p.gradient().from(first), p.moment1.from(first), {}};
  if (kAdam) state.moment2 = p.moment2.from(first);
  Scaler& scaler = pass.scaler;
  const auto beforehand = [](const StateTensor& t) { return from_data(t) && !t.spec.scaling.pow2; };
  StateAmax seen;
  if (beforehand(p.master) || beforehand(p.moment1) || (kAdam && beforehand(p.moment2))) {
    if constexpr (kAdam)
      seen = adamw_amax(params, state, n, beforehand(p.master), pool);
    else
      seen = lion_amax(params, state, n, beforehand(p.master), pool);
  }
  const auto as = [&](StateTensor& t, float amax) {
    StoreAs out;
    out.rule = t.rule(pass.rounding_seed(t.slot));
    out.rule.first = static_cast<uint64_t>(first);
    if (from_data(t) && t.spec.scaling.pow2)
      out.fit_margin = t.spec.scaling.margin;
    else if (t.slot >= 0)
      out.scale = scaler.scale_for(t.slot, amax);
    return out;
  };
  StepOutput output{as(p.master, seen.weight), as(p.moment1, seen.moment1), {}};
  if (kAdam) output.moment2 = as(p.moment2, seen.moment2);
  // The scale of a copy is that of the whole tensor.
  Weight* const copied = weights.size() == 1 && n == p.size() ? weights[0] : nullptr;
  if (copied) output.copy = copied->copy_of_update(pass);
  StateWatch watch(p, pass);
  StepSeen done;
  if constexpr (kAdam)
    done = adamw(params, state, output, n, pool);
  else
    done = lion(params, state, output, n, pool);
  const auto keep = [&](StateTensor& t, float scale) {
    t.at.scale = scale;
    if (t.slot >= 0) scaler.note_scale(t.slot, scale);
  };
  keep(p.master, done.weight_scale);
  keep(p.moment1, done.moment1_scale);
  if (kAdam) keep(p.moment2, done.moment2_scale);
  watch.record(params, p, pass, pool);
  p.amax = -1;
  if (output.copy.codes) {
    p.amax = done.copy_amax;
    copied->took_copy(pass, done.copy_scale, done.copy_amax);
  } else if (p.master.spec.rounding == Rounding::nearest_even && n == p.size()) {
    // The largest stored weight is the largest weight, rounded.
    uint32_t element = 0;
    const Stored one{&element, p.master.spec.format, done.weight_scale};
    encode(&done.weight.amax, 1, one, {}, pool);
    decode(one, 1, &p.amax, pool);
  }
}

}  // namespace

double Optimizer::gradient_squares(Transformer& model) const {
  double sum = 0;
  model.pass().run(Part::optimizer, [&](ThreadPool& pool) {
    for (const Parameter& p : model.parameters().all())
      sum += p.grad_squares >= 0 ? p.grad_squares : sum_squares(p.weight_grad.at, p.size(), pool);
  });
  return sum;
}

void Optimizer::step(Transformer& model, int64_t step, double share, double gradient_norm,
                     double loss_scale) const {
  AdamWParams adam;
  LionParams sign;
  adam.beta1 = sign.beta1 = static_cast<float>(optim_.beta1);
  adam.beta2 = sign.beta2 = static_cast<float>(optim_.beta2);
  adam.eps = static_cast<float>(optim_.eps);
  adam.bias_correction1 = static_cast<float>(1.0 - std::pow(optim_.beta1, static_cast<double>(step)));
  adam.bias_correction2 = static_cast<float>(1.0 - std::pow(optim_.beta2, static_cast<double>(step)));
  // PyTorch's clip_grad_norm_ has the same 1e-6.
  if (optim_.clip > 0 && gradient_norm > optim_.clip)
    adam.grad_scale = static_cast<float>(optim_.clip / (gradient_norm + 1e-6));
  adam.grad_scale *= static_cast<float>(1 / loss_scale);
  sign.grad_scale = adam.grad_scale;
  Pass& pass = model.pass();
  pass.run(Part::optimizer, [&](ThreadPool& pool) {
    pass.quantizations = kStateDraws;
    for (Parameter& p : model.parameters().all()) {
      pass.quantizations = (pass.quantizations | 3) + 1;  // four draws each
      if (p.owned.count == 0) continue;
      const Transfer rule = transfer(model.config(), p.layer, optim_.base_width);
      adam.lr = sign.lr = static_cast<float>(optim_.lr * share * rule.lr);
      const double decay = p.decay ? optim_.weight_decay * rule.decay : 0;
      adam.decay = sign.decay = decay * (optim_.decoupled_decay ? share : double{adam.lr});
      if (moments() == 2)
        update(adam, p, model.weights_of(p), pass, pool);
      else
        update(sign, p, model.weights_of(p), pass, pool);
    }
  });
}

}  // namespace octavo
