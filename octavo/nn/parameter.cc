// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/parameter.h"

#include <algorithm>
#include <cstring>

#include "octavo/base/rng.h"

namespace octavo {

Parameter& ParameterSet::add(Parameter parameter) {
  parameters_.push_back(std::move(parameter));
  return parameters_.back();
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

void ParameterSet::reserve(Parameter& p, Arena& arena, Purpose purpose, int moments, bool keep_value) {
  const size_t bytes = static_cast<size_t>(p.size()) * sizeof(float);
  if (keep_value) p.value_block = arena.reserve("weights", bytes);
  if (purpose != Purpose::training) return;
  p.grad_block = arena.reserve("gradients", bytes);
  p.moment1_block = arena.reserve("optimizer", bytes);
  p.moment2_block = moments > 1 ? arena.reserve("optimizer", bytes) : Arena::Block{};
}

void ParameterSet::bind(const Arena& arena) {
  const auto address = [&](Arena::Block block) { return block.bytes ? arena.at<float>(block) : nullptr; };
  for (Parameter& p : parameters_) {
    p.value = address(p.value_block);
    p.grad = address(p.grad_block);
    p.moment1 = address(p.moment1_block);
    p.moment2 = address(p.moment2_block);
  }
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

void ParameterSet::initialize(uint64_t seed, ThreadPool& pool) {
  for (Parameter& p : parameters_) {
    initial_values(p, seed, p.value, pool);
    p.amax = -1;
  }
}

void ParameterSet::zero_gradients(ThreadPool& pool) {
  for (Parameter& p : parameters_) {
    p.grad_squares = -1;
    p.grad_stale = p.overwritten_first;
    if (p.grad_stale) continue;
    pool.parallel_for(p.size(), 1 << 16, [&](int64_t begin, int64_t end) {
      std::memset(p.grad + begin, 0, static_cast<size_t>(end - begin) * sizeof(float));
    });
  }
}

}  // namespace octavo
