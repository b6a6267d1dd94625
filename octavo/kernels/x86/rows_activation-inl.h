// SPDX-License-Identifier: Apache-2.0
// Included inside an instruction set's namespace, after rows_common-inl.h.

enum { kGeluTanh, kGelu, kRelu, kSilu };  // the order of enum class Activation

/// act(x) and, when asked for, its derivative.
template <int kKind>
OCTAVO_SIMD F32 activate(F32 x, F32* slope) {
  if constexpr (kKind == kRelu) {
    // NaN stays: only numbers are cut.
    if (slope) *slope = select(zero() < x, splat(1.0f), select(is_nan(x), splat(1.0f), zero()));
    return select(x < zero(), zero(), x);
  } else if constexpr (kKind == kGelu) {
    F32 density;
    const F32 cdf = normal_cdf(x, &density);
    if (slope) *slope = fma(x, density, cdf);
    return x * cdf;
  } else {
    // Both are x times a sigmoid 1 / (1 + e), accurate in both tails as e is large in one and small in the
    // other. (1 + tanh u) / 2 is the sigmoid of 2u; log2(e) is in the constants. 2 sqrt(2/pi) = 1.5957691.
    constexpr float kLinear = 1.595769122f, kCubic = 0.044715f * 1.595769122f, kLog2 = 1.44269504f;
    const F32 square = x * x;
    F32 e;
    if constexpr (kKind == kSilu)
      e = exp_within(max(splat(-105.3f), min(splat(90.1f), negate(x))));
    else
      e = power_of_2(x * fma(square, splat(-kCubic * kLog2), splat(-kLinear * kLog2)));
    // Not x / (1 + e): the value is the same whether the slope is wanted or not.
    const F32 s = splat(1.0f) / (splat(1.0f) + e), value = x * s;
    if (!slope) return value;
    // 1 - s is e * s, and where e is infinite the slope is 0 whatever comes out.
    const F32 rest = min(splat(1e38f), e) * s;
    const F32 dz = kKind == kSilu ? splat(1.0f) : fma(square, splat(3 * kCubic), splat(kLinear));
    *slope = fma(value, rest * dz, s);
    return value;
  }
}

template <int kKind>
OCTAVO_SIMD uint32_t activation_forward_as(const ActivationForwardRow& row) {
  U32 amax = splat(0u);
  sweep(row.cols, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    fetch_ahead(row.x, i);
    F32 y = activate<kKind>(load(row.x, i, lanes), nullptr);
    if (row.up.data) y = y * load(row.up, i, lanes);
    track(amax, store(row.y, i, y, lanes), lanes);
  });
  return largest(amax);
}

template <int kKind>
OCTAVO_SIMD void activation_backward_as(ActivationBackwardRow& row) {
  U32 amax_dx = splat(0u), amax_dup = splat(0u);
  sweep(row.cols, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    fetch_ahead(row.x, i);
    fetch_ahead(row.dy, i);
    F32 slope;
    const F32 value = activate<kKind>(load(row.x, i, lanes), &slope), dy = load(row.dy, i, lanes);
    F32 dx = dy * slope;
    const F32 up = row.up.data ? load(row.up, i, lanes) : splat(1.0f);
    if (row.y.data) store(row.y, i, row.up.data ? value * up : value, lanes);
    if (row.up.data) {
      dx = dx * up;
      track(amax_dup, store(row.dup, i, dy * value, lanes), lanes);
    }
    track(amax_dx, store(row.dx, i, dx, lanes), lanes);
  });
  row.amax_dx = largest(amax_dx);
  row.amax_dup = largest(amax_dup);
}

uint32_t activation_forward(const ActivationForwardRow& row) {
  switch (row.kind) {
    case kGeluTanh:
      return activation_forward_as<kGeluTanh>(row);
    case kGelu:
      return activation_forward_as<kGelu>(row);
    case kRelu:
      return activation_forward_as<kRelu>(row);
    default:
      return activation_forward_as<kSilu>(row);
  }
}

void activation_backward(ActivationBackwardRow& row) {
  switch (row.kind) {
    case kGeluTanh:
      return activation_backward_as<kGeluTanh>(row);
    case kGelu:
      return activation_backward_as<kGelu>(row);
    case kRelu:
      return activation_backward_as<kRelu>(row);
    default:
      return activation_backward_as<kSilu>(row);
  }
}
