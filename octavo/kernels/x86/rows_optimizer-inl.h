// SPDX-License-Identifier: Apache-2.0
// Optimizer steps. No fused multiply-adds, and the order of optimizer_ref.cc: all variants give the same
// bits. Included inside an instruction set's namespace, after rows_common-inl.h and rows_stored-inl.h.

/// fn(weight, grad, moment1, moment2) with their elements: formats known beforehand for the usual sets (all
/// FP32; those of FP8-LM), looked at before each load for any other.
template <class Fn>
OCTAVO_SIMD void with_state(const OptimizerRow& row, Fn fn) {
  const AnyElements w = any_elements(row.weight, row.n), g = any_elements(row.grad, row.n),
                    m = any_elements(row.moment1, row.n), v = any_elements(row.moment2, row.n);
  const auto is = [&](int weight, int grad, int moment1, int moment2) {
    return w.format == weight && g.format == grad && m.format == moment1 && v.format == moment2;
  };
  if (is(kFp32, kFp32, kFp32, kFp32)) return fn(as<kFp32>(w), as<kFp32>(g), as<kFp32>(m), as<kFp32>(v));
  if (is(kFp16, kE4m3, kE4m3, kFp16)) return fn(as<kFp16>(w), as<kE4m3>(g), as<kE4m3>(m), as<kFp16>(v));
  fn(w, g, m, v);
}

/// What a step multiplies by, in all lanes.
struct AdamWLanes {
  F32 scale, beta1, rest1, beta2, rest2;
  explicit OCTAVO_SIMD AdamWLanes(const AdamWStep& s)
      : scale(splat(s.grad_scale)),
        beta1(splat(s.beta1)),
        rest1(splat(s.one_minus_beta1)),
        beta2(splat(s.beta2)),
        rest2(splat(s.one_minus_beta2)) {}
};

OCTAVO_SIMD Two new_moments(const AdamWLanes& c, F32 grad, F32 moment1, F32 moment2) {
  const F32 g = grad * c.scale;
  return {c.beta1 * moment1 + c.rest1 * g, c.beta2 * moment2 + c.rest2 * (g * g)};
}

void adamw(const AdamWStep& step, OptimizerRow& row) {
  const AdamWLanes c(step);
  const F32 eps = splat(step.eps), decay = splat(step.decay), root = splat(step.inverse_root2),
            size = splat(step.step_size);
  U32 amax_w = splat(0u), amax_m = splat(0u), amax_v = splat(0u);
  float *const new_w = row.new_weight, *const new_m = row.new_moment1, *const new_v = row.new_moment2;
  with_state(row, [&](auto weight, auto grad, auto moment1, auto moment2) OCTAVO_LAMBDA {
    sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      const auto [m, v] =
          new_moments(c, load(grad, i, lanes), load(moment1, i, lanes), load(moment2, i, lanes));
      const F32 denominator = sqrt(v) * root + eps;
      const F32 w = load(weight, i, lanes) * decay - size * (m / denominator);
      store(new_m + i, m, lanes);
      store(new_v + i, v, lanes);
      store(new_w + i, w, lanes);
      track(amax_m, m, lanes);
      track(amax_v, v, lanes);
      track(amax_w, w, lanes);
    });
  });
  row.amax_weight = largest(amax_w);
  row.amax_moment1 = largest(amax_m);
  row.amax_moment2 = largest(amax_v);
}

/// The same without the weights, which are then not touched.
template <class Fn>
OCTAVO_SIMD void with_moments(const OptimizerRow& row, Fn fn) {
  const AnyElements g = any_elements(row.grad, row.n), m = any_elements(row.moment1, row.n),
                    v = any_elements(row.moment2, row.n);
  if (g.format == kE4m3 && m.format == kE4m3 && v.format == kFp16)
    return fn(as<kE4m3>(g), as<kE4m3>(m), as<kFp16>(v));
  fn(g, m, v);
}

void adamw_moments(const AdamWStep& step, OptimizerRow& row) {
  const AdamWLanes c(step);
  U32 amax_m = splat(0u), amax_v = splat(0u);
  with_moments(row, [&](auto grad, auto moment1, auto moment2) OCTAVO_LAMBDA {
    sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      const auto [m, v] =
          new_moments(c, load(grad, i, lanes), load(moment1, i, lanes), load(moment2, i, lanes));
      track(amax_m, m, lanes);
      track(amax_v, v, lanes);
    });
  });
  row.amax_moment1 = largest(amax_m);
  row.amax_moment2 = largest(amax_v);
}

void lion(const LionStep& step, OptimizerRow& row) {
  const F32 scale = splat(step.grad_scale), decay = splat(step.decay), up = splat(step.step_size);
  const F32 beta1 = splat(step.beta1), rest1 = splat(step.one_minus_beta1), beta2 = splat(step.beta2);
  const F32 rest2 = splat(step.one_minus_beta2), down = splat(-step.step_size);
  U32 amax_w = splat(0u), amax_m = splat(0u);
  const AnyElements weight = any_elements(row.weight, row.n), grad = any_elements(row.grad, row.n),
                    moment = any_elements(row.moment1, row.n);
  sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    const F32 g = load(grad, i, lanes) * scale, before = load(moment, i, lanes);
    const F32 direction = beta1 * before + rest1 * g;
    const F32 move = select(zero() < direction, up, select(direction < zero(), down, zero()));
    const F32 w = load(weight, i, lanes) * decay - move;
    const F32 m = beta2 * before + rest2 * g;
    store(row.new_moment1 + i, m, lanes);
    store(row.new_weight + i, w, lanes);
    track(amax_m, m, lanes);
    track(amax_w, w, lanes);
  });
  row.amax_weight = largest(amax_w);
  row.amax_moment1 = largest(amax_m);
}

void lion_moment(const LionStep& step, OptimizerRow& row) {
  const F32 scale = splat(step.grad_scale), beta2 = splat(step.beta2), rest2 = splat(step.one_minus_beta2);
  U32 amax_m = splat(0u);
  const AnyElements grad = any_elements(row.grad, row.n), moment = any_elements(row.moment1, row.n);
  sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    track(amax_m, beta2 * load(moment, i, lanes) + rest2 * (load(grad, i, lanes) * scale), lanes);
  });
  row.amax_moment1 = largest(amax_m);
}
