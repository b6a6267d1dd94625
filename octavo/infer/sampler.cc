// SPDX-License-Identifier: Apache-2.0
#include "octavo/infer/sampler.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "octavo/base/error.h"
#include "octavo/base/rng.h"

namespace octavo {
namespace {

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

void validate(const SamplerParams& p) {
  if (!(p.temperature >= 0))
    fail_usage(fmt::format("--temperature is {}, expected 0 or more", p.temperature));
  if (p.top_k < 0) fail_usage(fmt::format("--top-k is {}, expected 0 (off) or more", p.top_k));
  if (!(p.top_p > 0 && p.top_p <= 1))
    fail_usage(fmt::format("--top-p is {}, expected a number in (0, 1]", p.top_p));
  if (!(p.min_p >= 0 && p.min_p <= 1))
    fail_usage(fmt::format("--min-p is {}, expected a number in [0, 1]", p.min_p));
}

int32_t sample(std::span<const float> logits, const SamplerParams& params, uint64_t position,
               uint64_t sequence) {
  if (std::any_of(logits.begin(), logits.end(), [](float x) { return std::isnan(x); }))
    fail_data(
        "the model's logits contain NaN: its weights are damaged, or the recipe overflows on it (try "
        "--recipe bf16)");
  const float best = logits[static_cast<size_t>(most_likely(logits))];
  if (!std::isfinite(best))
    fail_data(
        fmt::format("the largest logit of the model is {}: its weights are damaged, or the recipe overflows "
                    "on it (try --recipe bf16)",
                    best));
  if (params.temperature == 0) return most_likely(logits);

  std::vector<int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto likelier = [&](int32_t a, int32_t b) {
    const float x = logits[static_cast<size_t>(a)], y = logits[static_cast<size_t>(b)];
    return x != y ? x > y : a < b;
  };
  const size_t kept =
      params.top_k > 0 ? std::min<size_t>(static_cast<size_t>(params.top_k), ids.size()) : ids.size();
  // Only the filters need an order; a full sort of a large vocabulary would cost more than the model's last
  // layer.
  const bool ordered = params.top_k > 0 || params.top_p < 1;
  if (ordered)
    std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(kept), ids.end(), likelier);
  ids.resize(kept);

  const double top = static_cast<double>(best);
  std::vector<double> weights(ids.size());
  double total = 0;
  for (size_t i = 0; i < ids.size(); ++i) {
    weights[i] =
        std::exp((static_cast<double>(logits[static_cast<size_t>(ids[i])]) - top) / params.temperature);
    total += weights[i];
  }
  if (params.top_p < 1) {
    double reached = 0;
    size_t n = 0;
    while (n < weights.size() && reached < params.top_p * total) reached += weights[n++];
    weights.resize(n);
    total = reached;
  }
  if (params.min_p > 0) {
    // Weights are relative to the most likely token, whose weight is 1.
    total = 0;
    for (double& w : weights) {
      if (w < params.min_p) w = 0;
      total += w;
    }
  }

  double draw = Rng(params.seed, sequence).uniform(position) * total;
  size_t last = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) continue;
    last = i;
    draw -= weights[i];
    if (draw < 0) break;
  }
  return ids[last];
}

}  // namespace octavo
