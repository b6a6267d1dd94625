// SPDX-License-Identifier: Apache-2.0
// What the values of a model look like in one training pass: their size, their tails, and how the output of
// attention shrinks along the sequence.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "octavo/nn/transformer.h"

namespace octavo {

/// Values at one place of the network, over all rows and columns.
struct ProbedTensor {
  std::string place;  ///< as Probe (nn/pass.h) calls it: "model.layers.0.in"
  double rms = 0;
  double variance = 0;  ///< about the mean
  double kurtosis = 0;  ///< E[x^4] / E[x^2]^2; 3 for a normal distribution
  double peak = 0;      ///< max |x| / rms
};

/// Variance of the attention output of one block at each position, over sequences, heads and channels.
struct PositionVariance {
  std::string place;
  std::vector<double> variance;
};

struct ProbeResult {
  double loss = 0;                    ///< of the batch, natural units a token
  std::vector<ProbedTensor> tensors;  ///< in the order of the pass; the gradients (".dout") last to first
  std::vector<PositionVariance> attention;
};

/// One forward and backward pass of a model made for training over `batch`. Gradients are of the mean loss
/// times `loss_scale`.
ProbeResult probe_model(Transformer& model, const Batch& batch, const int32_t* targets, double loss_scale);

/// Variance that plain attention has at position k (from 1) for independent unit-variance logits and values,
/// to first order: e/k - (e-1)/k^2 (arXiv:2502.05967, proposition 2.1).
double attention_variance(int64_t k);

/// A table for people, UTF-8, ending with a line end.
std::string to_text(const ProbeResult& result);
/// One JSON object on one line, schema "octavo-probe-1" (docs/cli.md).
std::string to_json(const ProbeResult& result);

}  // namespace octavo
