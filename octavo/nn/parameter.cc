// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/parameter.h"

#include <algorithm>
#include <cstring>

#include "octavo/base/rng.h"

namespace octavo {

Parameter& ParameterSet::add(Parameter parameter) {
  parameters_.push_back(std::move(parameter));
  Parameter& p = parameters_.back();
  p.owned = {0, p.size()};
  return p;
}

Parameter* ParameterSet::find(const std::string& name) {
  const auto it = std::find_if(parameters_.begin(), parameters_.end(),
                               [&](const Parameter& p) { return p.name == name; });
  return it == parameters_.end() ? nullptr : &*it;
}

int64_t ParameterSet::total_size() const {
  int64_t total = 0;
  for (const Parameter& p : parameters_) total += p.size();
  return total;
}

void ParameterSet::reserve(StateTensor& state, Arena& arena, const char* category, int64_t copies) {
  state.block = {};
  if (state.part.count > 0)
    state.block = arena.reserve(category, static_cast<size_t>(copies) * state.bytes());
}

void ParameterSet::plan(Arena& arena, const Layout& layout) {
  layout_ = layout;
  int groups = 0;
  for (Parameter& p : parameters_) {
    const Elements all{0, p.size()};
    const bool whole = p.computes_with_master || (p.casts_master && !layout.sharded_weights);
    p.divided = layout.sharded_masters && !whole;
    p.master.part = p.divided ? p.owned : all;
    p.weight_grad.part = all;
    p.moment1.part = layout.sharded_moments ? p.owned : all;
    p.moment2.part = layout.moments > 1 ? p.moment1.part : Elements{};
    p.summed.spec = p.weight_grad.spec;
    p.summed.slot = p.weight_grad.slot;
    p.summed.part = layout.sharded_gradients ? p.owned : Elements{};
    reserve(p.master, arena, "weights");
    if (!layout.gradients_pass() || p.group == 0) reserve(p.weight_grad, arena, "gradients", layout.replicas);
    reserve(p.moment1, arena, "optimizer");
    reserve(p.moment2, arena, "optimizer");
    reserve(p.summed, arena, "gradients");
    groups = std::max(groups, p.group + 1);
  }
  if (!layout.gradients_pass()) return;
  // Two regions in turn: one is summed over ranks while the other is written.
  for (const int turn : {0, 1})
    arena.overlap(static_cast<size_t>(groups), [&](size_t group) {
      if (group == 0 || static_cast<int>(group) % 2 != turn) return;
      for (Parameter& p : parameters_)
        if (p.group == static_cast<int>(group)) reserve(p.weight_grad, arena, "gradients");
    });
}

void ParameterSet::bind(StateTensor& state, const Arena& arena) {
  state.at = {state.block.bytes ? arena.at<void>(state.block) : nullptr, state.spec.format, 1};
}

void ParameterSet::bind(const Arena& arena) {
  for (Parameter& p : parameters_) {
    for (StateTensor* state : {&p.master, &p.weight_grad, &p.moment1, &p.moment2, &p.summed})
      bind(*state, arena);
    const auto fp32 = [](const StateTensor& t) {
      return t.is_fp32() ? static_cast<float*>(t.at.data) : nullptr;
    };
    p.value = p.master.part.count == p.size() ? fp32(p.master) : nullptr;
    p.grad = fp32(p.weight_grad);
  }
  replica_ = 0;
  replica_scales_.assign(static_cast<size_t>(layout_.replicas), std::vector<float>(parameters_.size(), 1.0f));
}

void ParameterSet::use_replica(int64_t r) {
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Parameter& p = parameters_[i];
    replica_scales_[static_cast<size_t>(replica_)][i] = p.weight_grad.at.scale;
    p.weight_grad.at = from(p.weight_grad.at, (r - replica_) * p.size());
    p.weight_grad.at.scale = replica_scales_[static_cast<size_t>(r)][i];
    if (p.grad) p.grad = static_cast<float*>(p.weight_grad.at.data);
    p.grad_squares = -1;
  }
  replica_ = r;
}

Stored ParameterSet::replica(size_t index, int64_t r) const {
  const Parameter& p = parameters_[index];
  Stored at = from(p.weight_grad.at, (r - replica_) * p.size());
  if (r != replica_) at.scale = replica_scales_[static_cast<size_t>(r)][index];
  return at;
}

void ParameterSet::initial_values(const Parameter& p, uint64_t seed, float* out, ThreadPool& pool) const {
  uint64_t index = 0;
  while (&parameters_[index] != &p) ++index;
  const Rng rng(seed, index);
  pool.parallel_for(p.size(), 4096, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (p.init == Init::normal)
        out[i] = static_cast<float>(p.init_std * rng.normal(static_cast<uint64_t>(i)));
      else
        out[i] = p.init == Init::ones ? 1.0f : 0.0f;
    }
  });
}

void ParameterSet::initialize(uint64_t seed, Scaler& scaler, ThreadPool& pool) {
  std::vector<float> drawn;
  for (Parameter& p : parameters_) {
    p.amax = -1;
    if (p.value) {
      initial_values(p, seed, p.value, pool);
      continue;
    }
    if (p.master.part.count == 0) continue;
    drawn.resize(static_cast<size_t>(p.size()));
    initial_values(p, seed, drawn.data(), pool);
    store(p.master, drawn.data() + p.master.part.first, std::nullopt, scaler, seed, pool);
  }
}

void ParameterSet::zero(Parameter& p, ThreadPool& pool) {
  p.grad_squares = -1;
  p.grad_stale = p.overwritten_first;
  if (p.grad_stale) return;
  pool.parallel_for(p.size(), 1 << 16, [&](int64_t begin, int64_t end) {
    std::memset(p.grad + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
  });
}

void ParameterSet::zero_gradients(ThreadPool& pool) {
  for (Parameter& p : parameters_) zero(p, pool);
}

void ParameterSet::zero_group(int group, ThreadPool& pool) {
  for (Parameter& p : parameters_)
    if (p.group == group) zero(p, pool);
}

}  // namespace octavo
