// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "octavo/kernels/activation.h"
#include "octavo/kernels/ref/rows_ref.h"

namespace octavo {
namespace {

struct ValueAndSlope {
  double value, slope;
};

ValueAndSlope activate(Activation kind, double x) {
  switch (kind) {
    case Activation::gelu_tanh: {
      // (1 + tanh u) / 2 is the sigmoid of 2u, which keeps its accuracy where tanh nears -1.
      constexpr double kRoot = 0.7978845608028654, kCubic = 0.044715;  // sqrt(2/pi)
      const double u2 = 2 * kRoot * (x + kCubic * x * x * x);
      const double s = 1 / (1 + std::exp(-u2)), rest = 1 / (1 + std::exp(u2));
      return {x * s, s + x * s * rest * 2 * kRoot * (1 + 3 * kCubic * x * x)};
    }
    case Activation::gelu: {
      const double cdf = 0.5 * std::erfc(-x * 0.7071067811865476);
      const double density = 0.3989422804014327 * std::exp(-0.5 * x * x);
      return {x * cdf, cdf + x * density};
    }
    case Activation::relu:
      // NaN stays: only numbers are cut.
      return {x < 0 ? 0.0 : x, x <= 0 ? 0.0 : 1.0};
    case Activation::silu: {
      const double s = 1 / (1 + std::exp(-x)), rest = 1 / (1 + std::exp(x));
      return {x * s, s + x * s * rest};
    }
  }
  return {0, 0};
}

}  // namespace

uint32_t activation_forward_ref(const ActivationForwardRow& row) {
  uint32_t amax = 0;
  for (int64_t i = 0; i < row.cols; ++i) {
    const double y = activate(static_cast<Activation>(row.kind), get(row.x, i)).value;
    amax = std::max(amax, magnitude_bits(put(row.y, i, row.up.data ? y * get(row.up, i) : y)));
  }
  return amax;
}

void activation_backward_ref(ActivationBackwardRow& row) {
  row.amax_dx = row.amax_dup = 0;
  for (int64_t i = 0; i < row.cols; ++i) {
    const ValueAndSlope a = activate(static_cast<Activation>(row.kind), get(row.x, i));
    const double dy = get(row.dy, i);
    double dx = dy * a.slope;
    if (row.y.data) put(row.y, i, row.up.data ? a.value * get(row.up, i) : a.value);
    if (row.up.data) {
      dx *= get(row.up, i);
      row.amax_dup = std::max(row.amax_dup, magnitude_bits(put(row.dup, i, dy * a.value)));
    }
    row.amax_dx = std::max(row.amax_dx, magnitude_bits(put(row.dx, i, dx)));
  }
}

}  // namespace octavo
