// SPDX-License-Identifier: Apache-2.0
#include "octavo/nn/scheme.h"

#include <cmath>
#include <iterator>

#include "octavo/nn/model_config.h"

namespace octavo {

const std::vector<std::string>& scheme_words() {
  static const std::vector<std::string> words{"sp", "mup", "unit", "umup", "munit"};
  return words;
}
const std::vector<std::string>& placement_words() {
  static const std::vector<std::string> words{"pre", "res-post"};
  return words;
}
const std::vector<std::string>& residual_words() {
  static const std::vector<std::string> words{"sum", "fixed", "running-mean"};
  return words;
}
const char* to_string(Scheme scheme) { return scheme_words()[static_cast<size_t>(scheme)].c_str(); }
const char* to_string(NormPlacement placement) {
  return placement_words()[static_cast<size_t>(placement)].c_str();
}
const char* to_string(Residual residual) { return residual_words()[static_cast<size_t>(residual)].c_str(); }

SchemeDefaults defaults_of(Scheme scheme) {
  switch (scheme) {
    case Scheme::sp:
      return {NormPlacement::pre, Residual::sum, 0.02, true};
    case Scheme::mup:
      return {NormPlacement::pre, Residual::sum, 1, true};
    case Scheme::unit:
      return {NormPlacement::pre, Residual::fixed, 1, true};
    case Scheme::umup:  // branches of equal weight: arXiv:2407.17465, with alpha_res = alpha_res-attn-ratio =
                        // 1
      return {NormPlacement::pre, Residual::running_mean, 1, true};
    case Scheme::munit:
      return {NormPlacement::res_post, Residual::fixed, 1, true};
  }
  return {};
}

LayerRule layer_rule(const ModelConfig& c, Layer layer, int64_t fan_in) {
  const double root = 1 / std::sqrt(static_cast<double>(fan_in)), whole = 1 / static_cast<double>(fan_in);
  const bool matrix = layer == Layer::hidden || layer == Layer::into_stream;
  LayerRule rule{c.init_std, 1};
  switch (c.scheme) {
    case Scheme::sp:
      // Projections back into the residual stream start smaller: 2 * layers of them add up (GPT-2's
      // initialization).
      if (layer == Layer::into_stream) rule.init_std /= std::sqrt(2.0 * static_cast<double>(c.layers));
      break;
    case Scheme::mup:
      if (matrix) rule.init_std *= root;
      if (layer == Layer::output) rule.multiplier = whole;
      break;
    case Scheme::unit:
      if (matrix || layer == Layer::output) rule.multiplier = root;
      break;
    case Scheme::umup:
    case Scheme::munit:
      if (matrix) rule.multiplier = root;
      if (layer == Layer::output) rule.multiplier = whole;
      break;
  }
  if (matrix && !c.multipliers) rule.multiplier = 1;
  // Token and position together have the variance of one table.
  if (layer == Layer::input && !c.rotary() && c.scheme != Scheme::sp) rule.init_std *= std::sqrt(0.5);
  return rule;
}

bool keeps_unit_scale(const ModelConfig& c) {
  return c.scheme == Scheme::unit || c.scheme == Scheme::umup || c.scheme == Scheme::munit;
}

double attention_scale(const ModelConfig& c) {
  const double d = static_cast<double>(c.head_dim);
  return c.scheme == Scheme::mup ? 1.0 / d : 1.0 / std::sqrt(d);
}

ResidualFactors residual_factors(const ModelConfig& c, int64_t addition) {
  switch (c.residual) {
    case Residual::sum:
      return {1, 1};
    case Residual::fixed:
      return {std::sqrt(1 - c.tau), std::sqrt(c.tau)};
    case Residual::running_mean: {
      const double terms = static_cast<double>(addition + 2);  // the embedding and the branches, this one too
      return {std::sqrt((terms - 1) / terms), std::sqrt(1 / terms)};
    }
  }
  return {};
}

double default_tau(int64_t layers) {
  constexpr struct { double layers, tau; } points[] = {{4, 0.4}, {12, 0.3}, {24, 0.2}, {40, 0.2}, {100, 0.1}};
  const double depth = static_cast<double>(layers);
  if (depth <= points[0].layers) return points[0].tau;
  for (size_t i = 1; i < std::size(points); ++i) {
    const auto &a = points[i - 1], &b = points[i];
    if (depth <= b.layers) return a.tau + (b.tau - a.tau) * (depth - a.layers) / (b.layers - a.layers);
  }
  return points[std::size(points) - 1].tau;
}

Transfer transfer(const ModelConfig& c, Layer layer, int64_t base_width) {
  if (base_width <= 0 || base_width == c.width) return {};
  const double ratio = static_cast<double>(base_width) / static_cast<double>(c.width);
  const bool matrix = layer == Layer::hidden || layer == Layer::into_stream;
  switch (c.scheme) {
    case Scheme::sp:  // arXiv:2502.05967, section 3.2
      return {ratio, 0.5};
    case Scheme::mup:
      return {matrix ? ratio : 1, 1};
    case Scheme::unit:  // has no rule of its own
      return {};
    case Scheme::umup:
      return {matrix || layer == Layer::input ? std::sqrt(ratio) : 1, 1};
    case Scheme::munit:
      return {matrix ? std::sqrt(ratio) : 1, 1};
  }
  return {};
}

}  // namespace octavo
