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

Scaler::Slot Scaler::add(const std::string& name, const RoleSpec& spec) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    if (!(slots_[static_cast<size_t>(found->second)].spec == spec))
      fail_usage(fmt::format("the scale of '{}' is asked for twice with different rules", name));
    return found->second;
  }
  const bool finer = spec.granularity.kind != Granularity::tensor;
  if (spec.scaling.kind == ScalingKind::automatic || (spec.scaling.kind == ScalingKind::mse && finer))
    fail_unsupported(fmt::format("{} scaling per {}, asked for by '{}', is not implemented yet",
                                 word(spec.scaling.kind), to_string(spec.granularity), name));
  Entry e;
  e.name = name;
  e.spec = spec;
  if (spec.scaling.kind == ScalingKind::delayed) {
    if (spec.scaling.window < 1)
      fail_usage(fmt::format("the amax window of '{}' is {}", name, spec.scaling.window));
    e.ring.resize(static_cast<size_t>(spec.scaling.window));
  }
  slots_.push_back(std::move(e));
  const Slot slot = static_cast<Slot>(slots_.size()) - 1;
  by_name_.emplace(name, slot);
  return slot;
}

bool Scaler::needs_amax(Slot slot) const {
  const Entry& e = slots_[static_cast<size_t>(slot)];
  return e.spec.scaling.kind == ScalingKind::current ||
         (e.spec.scaling.kind == ScalingKind::delayed && e.filled == 0);
}

float Scaler::scale_for(Slot slot, float amax) {
  Entry& e = entry(slot);
  std::optional<float> scale;
  switch (e.spec.scaling.kind) {
    case ScalingKind::constant:
      scale = scale_from_bias(e.spec.scaling.exponent);
      break;
    case ScalingKind::current:
      e.last_amax = amax;
      if (!std::isfinite(amax)) ++e.nonfinite;
      scale = scale_from_amax(e.spec, amax);
      break;
    case ScalingKind::delayed:
      // A non-finite amax of a first use is counted by the observe() that follows.
      scale = scale_from_amax(e.spec, e.filled > 0 ? delayed_amax(e) : amax);
      break;
    case ScalingKind::none:
    case ScalingKind::static_:
    case ScalingKind::automatic:
    case ScalingKind::mse:
      scale = 1.0f;
      break;
  }
  if (scale) e.last_scale = *scale;
  return last_scale(slot);
}

float Scaler::scale_for(Slot slot, const MagnitudeHistogram& histogram) {
  Entry& e = entry(slot);
  e.last_amax = histogram.amax;
  if (!std::isfinite(histogram.amax)) ++e.nonfinite;
  if (const std::optional<int> bias = mse_bias(histogram, e.spec.format))
    e.last_scale = scale_from_bias(*bias);
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
  e.last_amax = amax;
  if (!std::isfinite(amax)) {
    ++e.nonfinite;
  } else if (!e.ring.empty()) {
    enter(e, amax);
  }
}

float Scaler::last_scale(Slot slot) const {
  const float scale = slots_[static_cast<size_t>(slot)].last_scale;
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
  for (const Entry& e : slots_) {
    if (!has_memory(e)) continue;
    NamedState item{e.name, {e.last_scale}};
    const int32_t window = static_cast<int32_t>(e.ring.size());
    for (int32_t i = 0; i < e.filled; ++i)
      item.values.push_back(e.ring[static_cast<size_t>((e.next - e.filled + i + window) % window)]);
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
    const size_t window = slots_[static_cast<size_t>(slot->second)].ring.size();
    if (item.values.empty() || item.values.size() > window + 1)
      fail_data(fmt::format("the saved scaling state of '{}' has {} values, but 1 to {} are expected",
                            item.name, item.values.size(), window + 1));
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
    Entry& e = entry(by_name_.at(std::string(item_name)));
    e.last_scale = item->values[0];
    e.filled = e.next = 0;
    for (size_t i = 1; i < item->values.size(); ++i) enter(e, item->values[i]);
  }
}

bool Scaler::has_memory(const Entry& e) {
  const ScalingKind kind = e.spec.scaling.kind;
  return e.spec.granularity.kind == Granularity::tensor &&
         (kind == ScalingKind::current || kind == ScalingKind::delayed || kind == ScalingKind::mse);
}

float Scaler::delayed_amax(const Entry& e) {
  if (e.spec.scaling.statistic == Statistic::latest) {
    const size_t window = e.ring.size();
    return e.ring[(static_cast<size_t>(e.next) + window - 1) % window];
  }
  return *std::max_element(e.ring.begin(), e.ring.begin() + e.filled);
}

void Scaler::enter(Entry& e, float amax) {
  const int32_t window = static_cast<int32_t>(e.ring.size());
  e.ring[static_cast<size_t>(e.next)] = amax;
  e.next = (e.next + 1) % window;
  e.filled = std::min(e.filled + 1, window);
}

}  // namespace octavo
