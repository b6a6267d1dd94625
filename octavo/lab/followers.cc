// SPDX-License-Identifier: Apache-2.0
#include "octavo/lab/followers.h"

#include <fmt/format.h>

#include <algorithm>

#include "octavo/base/error.h"

namespace octavo {
namespace {

using Chosen = std::vector<const AxisValue*>;

bool sets(const std::vector<Setting>& settings, const std::string& key) {
  return std::any_of(settings.begin(), settings.end(), [&](const Setting& s) { return s.key == key; });
}

/// The value that has the last word on a key; null when no axis sets it.
const AxisValue* last_that_sets(const Chosen& chosen, const std::string& key) {
  const auto found = std::find_if(chosen.rbegin(), chosen.rend(),
                                  [&](const AxisValue* value) { return sets(value->settings, key); });
  return found == chosen.rend() ? nullptr : *found;
}

/// The run as it would be if `value` left `key` alone.
RunConfig without(const LabPlan& plan, const Chosen& chosen, const AxisValue* value, const std::string& key) {
  std::vector<Setting> settings = plan.settings;
  for (const AxisValue* other : chosen)
    for (const Setting& s : other->settings)
      if (other != value || s.key != key) settings.push_back(s);
  settings.insert(settings.end(), plan.overrides.begin(), plan.overrides.end());
  return configure(settings);
}

void follow_peak(RunConfig& config, const LabPlan& plan, const Chosen& chosen) {
  const AxisValue* peak = last_that_sets(chosen, "optim.lr");
  if (!peak || sets(peak->settings, "optim.min_lr")) return;
  for (const AxisValue* value : chosen)  // one that brings both brings a pair, whose share counts
    if (sets(value->settings, "optim.min_lr") && !sets(value->settings, "optim.lr")) return;
  const RunConfig base = without(plan, chosen, peak, "optim.lr");
  if (base.optim.lr > 0) config.optim.min_lr = base.optim.min_lr / base.optim.lr * config.optim.lr;
}

void follow_width(RunConfig& config, const LabPlan& plan, const Chosen& chosen) {
  const AxisValue* wide = last_that_sets(chosen, "model.width");
  if (!wide) return;
  const auto is_set = [&](const char* key) {
    return sets(plan.settings, key) || sets(plan.overrides, key) || last_that_sets(chosen, key);
  };
  const RunConfig::Model base = without(plan, chosen, wide, "model.width").model;
  RunConfig::Model& model = config.model;
  if (base.width < 1 || base.heads < 1 || model.width < 1) return;  // refused elsewhere
  if (base.ffn > 0 && !is_set("model.ffn")) model.ffn = (base.ffn * model.width / base.width + 31) / 32 * 32;
  if (is_set("model.heads") || (base.head_dim < 1 && base.width % base.heads != 0)) return;
  const int64_t head = base.head_dim > 0 ? base.head_dim : base.width / base.heads;
  model.heads = model.width / head;
  const bool fits_kv =
      base.kv_heads < 1 || is_set("model.kv_heads") || base.kv_heads * model.heads % base.heads == 0;
  if (model.width % head != 0 || !fits_kv)
    fail_usage(
        fmt::format("model.width {}: heads of width {}{} do not fit; give the heads beside the widths "
                    "(\"model.width=...;model.heads=...\") or --set model.head_dim",
                    model.width, head, fits_kv ? "" : " with the preset's share of key/value heads"));
  if (base.kv_heads > 0 && !is_set("model.kv_heads"))
    model.kv_heads = base.kv_heads * model.heads / base.heads;
}

}  // namespace

void follow_axes(RunConfig& config, const LabPlan& plan, const std::vector<const AxisValue*>& chosen) {
  follow_peak(config, plan, chosen);
  follow_width(config, plan, chosen);
}

}  // namespace octavo
