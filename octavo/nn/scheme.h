// SPDX-License-Identifier: Apache-2.0
// Parametrizations: how weights begin, what their products are multiplied by, how branches join the stream,
// and how hyperparameters go from one width to another. The one place that knows.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace octavo {

struct ModelConfig;

/// sp     standard: weights N(0, init_std^2), branches added as they are
/// mup    arXiv:2203.03466, Adam; output multiplier as in arXiv:2502.05967, section 2.3
/// unit   Unit Scaling, arXiv:2303.11257
/// umup   u-muP, arXiv:2407.17465
/// munit  arXiv:2502.05967
enum class Scheme { sp, mup, unit, umup, munit };
/// Where the norms of a block stand: before a branch, or at its end, on the way into the stream.
enum class NormPlacement { pre, res_post };
/// x + f; sqrt(1 - tau) x + sqrt(tau) f; the mean of the embedding and all branches so far, at unit variance.
enum class Residual { sum, fixed, running_mean };

/// The words of configurations, in the order of the enumerators.
const std::vector<std::string>& scheme_words();
const std::vector<std::string>& placement_words();
const std::vector<std::string>& residual_words();
const char* to_string(Scheme scheme);
const char* to_string(NormPlacement placement);
const char* to_string(Residual residual);

/// What a scheme means where a configuration says nothing.
struct SchemeDefaults {
  NormPlacement placement;
  Residual residual;
  double init_std;
  bool final_norm;
};
SchemeDefaults defaults_of(Scheme scheme);

/// The place of a parameter in the network: token and position tables; matrices inside the blocks, those that
/// write to the residual stream apart; the LM head; gains and biases.
enum class Layer { input, hidden, into_stream, output, vector };

/// Standard deviation of the initial values, and the constant that multiplies the layer's product.
struct LayerRule {
  double init_std = 0, multiplier = 1;
};
LayerRule layer_rule(const ModelConfig& config, Layer layer, int64_t fan_in);

/// Whether weights and activations have unit variance at initialization, so that casts need no scales.
bool keeps_unit_scale(const ModelConfig& config);

/// Multiplies the attention logits: 1/sqrt(head_dim), or 1/head_dim (mup).
double attention_scale(const ModelConfig& config);

/// stream = skip * stream + branch * f at the `addition`-th of the 2 * layers additions, from 0.
struct ResidualFactors {
  double skip = 1, branch = 1;
};
ResidualFactors residual_factors(const ModelConfig& config, int64_t addition);

/// tau where none is given, from the depth: 0.4 for 4 layers or fewer and 0.1 for 100 or more (both
/// arXiv:2502.05967), 0.3 at 12 and 0.2 from 24 to 40 (ours), linear in between.
double default_tau(int64_t layers);

/// Factors of learning rate and weight decay of a layer, for hyperparameters found at `base_width`
/// (0: found at this width).
struct Transfer {
  double lr = 1, decay = 1;
};
Transfer transfer(const ModelConfig& config, Layer layer, int64_t base_width);

}  // namespace octavo
