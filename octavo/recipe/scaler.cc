// SPDX-License-Identifier: Apache-2.0
#include "octavo/recipe/scaler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "octavo/base/error.h"
#include "octavo/numerics/scale.h"
#include "octavo/recipe/mse_scale.h"
#include "octavo/recipe/words.h"

namespace octavo {
namespace {

constexpr float kNothing = -1;  ///< in a journal: an amax that was not finite; every other one is larger

}  // namespace

std::optional<float> scale_from_amax(const RoleSpec& spec, float amax) {
  if (spec.scaling.pow2) {
    const std::optional<int> bias = pow2_bias(amax, spec.format, spec.scaling.margin, kFloatBiasRange);
    if (!bias) return std::nullopt;
    return scale_from_bias(*bias);
  }
  if (!usable_amax(amax)) return std::nullopt;
  const float quotient = amax_scale(amax, spec.format).value_or(0.0f);
  const double scale = quotient * std::ldexp(1.0, spec.scaling.margin);
  return static_cast<float>(std::clamp(scale, 0x1p-126, 0x1p126));
}

float fixed_scale(const RoleSpec& spec) {
  return spec.scaling.kind == ScalingKind::constant ? scale_from_bias(spec.scaling.exponent) : 1.0f;
}

Scaler::Slot Scaler::add(const std::string& name, const RoleSpec& spec) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    if (!(slots_[static_cast<size_t>(found->second)].spec == spec))
      fail_usage(fmt::format("the scale of '{}' is asked for twice with different rules", name));
    return found->second;
  }
  const ScalingKind kind = spec.scaling.kind;
  if (spec.granularity.kind != Granularity::tensor &&
      (kind == ScalingKind::automatic || kind == ScalingKind::mse))
    fail_unsupported(fmt::format("{} scaling per {}, asked for by '{}', is not implemented yet", word(kind),
                                 to_string(spec.granularity), name));
  Memory memory;
  if (kind == ScalingKind::delayed) {
    if (spec.scaling.window < 1)
      fail_usage(fmt::format("the amax window of '{}' is {}", name, spec.scaling.window));
    memory.ring.resize(static_cast<size_t>(spec.scaling.window));
  }
  Entry e;
  e.name = name;
  e.spec = spec;
  slots_.push_back(std::move(e));
  memories_.push_back(std::move(memory));
  const Slot slot = static_cast<Slot>(slots_.size()) - 1;
  by_name_.emplace(name, slot);
  return slot;
}

bool Scaler::needs_amax(Slot slot) const {
  switch (spec(slot).scaling.kind) {
    case ScalingKind::current:
    case ScalingKind::automatic:
      return true;
    case ScalingKind::delayed:
      return memory(slot).filled == 0;
    default:
      return false;
  }
}

float Scaler::scale_for(Slot slot, float amax) {
  Entry& e = entry(slot);
  Memory& m = memory(slot);
  std::optional<float> scale;
  switch (e.spec.scaling.kind) {
    case ScalingKind::current:
    case ScalingKind::automatic:
      e.last_amax = amax;
      if (!std::isfinite(amax)) ++e.nonfinite;
      scale = scale_from_amax(e.spec, amax / m.mu);
      break;
    case ScalingKind::delayed:
      // A non-finite amax of a first use is counted by the observe() that follows.
      scale = scale_from_amax(e.spec, m.filled > 0 ? delayed_amax(slot) : amax);
      break;
    case ScalingKind::constant:
    case ScalingKind::none:
    case ScalingKind::static_:
    case ScalingKind::mse:
      scale = fixed_scale(e.spec);
      break;
  }
  if (scale) m.last_scale = *scale;
  return last_scale(slot);
}

float Scaler::scale_for(Slot slot, const MagnitudeHistogram& histogram) {
  Entry& e = entry(slot);
  e.last_amax = histogram.amax;
  if (!std::isfinite(histogram.amax)) ++e.nonfinite;
  if (const std::optional<int> bias = mse_bias(histogram, e.spec.format))
    memory(slot).last_scale = scale_from_bias(*bias);
  return last_scale(slot);
}

void Scaler::row_scales(Slot slot, std::span<float> amaxes) {
  Entry& e = entry(slot);
  float largest = 0;
  for (float& value : amaxes) {
    if (!std::isfinite(value)) {
      ++e.nonfinite;
      largest = value;
    } else if (std::isfinite(largest)) {
      largest = std::max(largest, value);
    }
    value = scale_from_amax(e.spec, value).value_or(1.0f);
  }
  e.last_amax = largest;
}

void Scaler::observe(Slot slot, float amax) {
  Entry& e = entry(slot);
  Memory& m = memory(slot);
  e.last_amax = amax;
  if (!std::isfinite(amax)) {
    ++e.nonfinite;
    amax = kNothing;
  } else if (!m.ring.empty()) {
    enter(m, amax);
  }
  if (journaling_) journal_.push_back({slot, amax});
}

void Scaler::replay(std::span<const Observation> journal) {
  for (const auto& [slot, amax] : journal)
    if (Memory& m = memory(slot); amax != kNothing && !m.ring.empty()) enter(m, amax);
}

void Scaler::adapt(Slot slot, double saturated) {
  const ScalingSpec& rule = spec(slot).scaling;
  float& mu = memory(slot).mu;
  const bool factor = rule.reading == Reading::factor;
  if (saturated > rule.threshold)
    mu = factor ? mu / 2 : 0.5f;
  else
    mu = static_cast<float>(mu * std::exp2((factor ? 1.0 : 2.0) / rule.growth_steps));
  mu = std::clamp(mu, 0x1p-60f, factor ? 0x1p20f : 2.0f);
}

float Scaler::last_scale(Slot slot) const {
  const float scale = memory(slot).last_scale;
  return scale == 0 ? 1.0f : scale;
}

int64_t Scaler::nonfinite() const {
  int64_t sum = 0;
  for (const Entry& e : slots_) sum += e.nonfinite;
  return sum;
}

void Scaler::clear_nonfinite() {
  for (Entry& e : slots_) e.nonfinite = 0;
}

std::vector<NamedState> Scaler::state() const {
  std::vector<NamedState> out;
  for (Slot slot = 0; slot < size(); ++slot) {
    const Entry& e = slots_[static_cast<size_t>(slot)];
    const Memory& m = memory(slot);
    if (!has_memory(e)) continue;
    NamedState item{e.name, {m.last_scale}};
    if (e.spec.scaling.kind == ScalingKind::automatic) item.values.push_back(m.mu);
    const int32_t window = static_cast<int32_t>(m.ring.size());
    for (int32_t i = 0; i < m.filled; ++i)
      item.values.push_back(m.ring[static_cast<size_t>((m.next - m.filled + i + window) % window)]);
    out.push_back(std::move(item));
  }
  return out;
}

void Scaler::restore(const std::vector<NamedState>& state) {
  std::map<std::string_view, const NamedState*> given;
  for (const NamedState& item : state) {
    const auto slot = by_name_.find(item.name);
    if (slot == by_name_.end() || !has_memory(slots_[static_cast<size_t>(slot->second)]))
      fail_data(fmt::format("the saved scaling state holds '{}', which this model and recipe do not have",
                            item.name));
    if (!given.emplace(item.name, &item).second)
      fail_data(fmt::format("the saved scaling state holds '{}' twice", item.name));
    const bool has_mu = spec(slot->second).scaling.kind == ScalingKind::automatic;
    const size_t least = has_mu ? 2 : 1, most = least + memory(slot->second).ring.size();
    if (item.values.size() < least || item.values.size() > most)
      fail_data(fmt::format("the saved scaling state of '{}' has {} values, but {} to {} are expected",
                            item.name, item.values.size(), least, most));
    if (has_mu && !(item.values[1] > 0))
      fail_data(fmt::format("the saved scaling state of '{}' has the factor {}, which is not positive",
                            item.name, item.values[1]));
    for (const float value : item.values)
      if (!std::isfinite(value) || value < 0)
        fail_data(fmt::format("the saved scaling state of '{}' holds {}, which is no scale or amax",
                              item.name, value));
  }
  for (const Entry& e : slots_)
    if (has_memory(e) && !given.contains(e.name))
      fail_data(fmt::format("the saved scaling state has no entry for '{}'", e.name));
  // Only now, so that a bad state changes nothing.
  for (const auto& [item_name, item] : given) {
    const Slot slot = by_name_.at(std::string(item_name));
    Memory& m = memory(slot);
    m.last_scale = item->values[0];
    m.filled = m.next = 0;
    if (spec(slot).scaling.kind == ScalingKind::automatic) {
      m.mu = item->values[1];
      continue;
    }
    for (size_t i = 1; i < item->values.size(); ++i) enter(m, item->values[i]);
  }
}

bool Scaler::has_memory(const Entry& e) {
  if (e.spec.granularity.kind != Granularity::tensor) return false;
  switch (e.spec.scaling.kind) {
    case ScalingKind::current:
    case ScalingKind::delayed:
    case ScalingKind::automatic:
    case ScalingKind::mse:
      return true;
    default:
      return false;
  }
}

float Scaler::delayed_amax(Slot slot) const {
  const Memory& m = memory(slot);
  if (spec(slot).scaling.statistic == Statistic::latest) {
    const size_t window = m.ring.size();
    return m.ring[(static_cast<size_t>(m.next) + window - 1) % window];
  }
  return *std::max_element(m.ring.begin(), m.ring.begin() + m.filled);
}

void Scaler::enter(Memory& m, float amax) {
  const int32_t window = static_cast<int32_t>(m.ring.size());
  m.ring[static_cast<size_t>(m.next)] = amax;
  m.next = (m.next + 1) % window;
  m.filled = std::min(m.filled + 1, window);
}

}  // namespace octavo
