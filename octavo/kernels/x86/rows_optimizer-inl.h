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

struct Three {
  F32 first, second, third;
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

bool is_power(float x) {
  uint32_t u = 0;
  __builtin_memcpy(&u, &x, 4);
  return (u & 0x807fffff) == 0;
}

/// Whether (element * scale) * factor may be computed as element * (scale * factor), to the same bits: the
/// scale a power of two and no product in between subnormal or infinite.
bool folds(const StoredRow& x, float factor) {
  const float size = factor < 0 ? -factor : factor;
  return is_power(x.scale) && x.scale >= 0x1p-80f && x.scale <= 0x1p+80f &&
         (size == 0 || (size >= 0x1p-20f && size <= 0x1p+20f));
}
bool moments_fold(const AdamWStep& step, const OptimizerRow& row) {
  return folds(row.grad, step.grad_scale) && folds(row.moment1, step.beta1) && folds(row.moment2, step.beta2);
}
template <class Grad, class Moment1, class Moment2>
OCTAVO_SIMD AdamWLanes folded(AdamWLanes c, const Grad& grad, const Moment1& moment1,
                              const Moment2& moment2) {
  c.scale = c.scale * grad.scale;
  c.beta1 = c.beta1 * moment1.scale;
  c.beta2 = c.beta2 * moment2.scale;
  return c;
}

/// Elements of the quick ways, whose codes are not looked at for NaN.
OCTAVO_SIMD Elements<kFp16> fp16_elements(const StoredRow& row) {
  return {row.data, splat(row.scale), nullptr};
}
OCTAVO_SIMD Elements<kE4m3> e4m3_elements(const StoredRow& row) {
  return {row.data, splat(row.scale * 256), nullptr};
}
bool has_e4m3_nan(const StoredRow& row, int64_t n) {
  return any_above(static_cast<const uint8_t*>(row.data), n, 0x7e);
}
/// The moments of FP8-LM, foldable and without NaN (that of an FP16 code would show in the amax).
bool moments_are_fp8lm(const AdamWStep& step, const OptimizerRow& row) {
  return row.grad.format == kE4m3 && row.moment1.format == kE4m3 && row.moment2.format == kFp16 &&
         moments_fold(step, row) && !has_e4m3_nan(row.grad, row.n) && !has_e4m3_nan(row.moment1, row.n);
}
bool is_nan(uint32_t amax) { return amax > 0x7f800000u; }

/// track() of numbers that are hardly ever negative: one comes out as a NaN.
OCTAVO_SIMD void track_positive(U32& acc, F32 a, auto lanes) {
  acc = max(acc, bits(used_or(a, zero(), lanes)));
}

/// Powers of two that may be multiplied and divided by without a product that is subnormal or infinite.
bool is_usual_power(float x) { return is_power(x) && x >= 0x1p-80f && x <= 0x1p+80f; }

/// Which stages of a pipeline take part in a turn, as a type.
template <int kFirst, int kLast>
struct Stages {
  static constexpr bool has(int stage) { return kFirst <= stage && stage <= kLast; }
};

/// One loop in which conversions hide behind the root and the division. It is a pipeline: in each turn every
/// stage works on a vector of its own, with what the stage before left in registers a turn ago, so that
/// hardly an operation waits in the queues of the CPU. (All of one vector after the other took 1.6 times as
/// long, and the order of the stages in a turn is the quickest of those tried.)
bool adamw_fp8lm(const AdamWStep& step, OptimizerRow& row, const Fp8LmCodes& out) {
  const bool can = row.weight.format == kFp16 && folds(row.weight, step.decay) &&
                   moments_are_fp8lm(step, row) && is_power(out.weight_scale) &&
                   is_usual_power(out.moment1_scale) && is_power(out.moment2_scale);
  if (!can) return false;
  const Elements weight = fp16_elements(row.weight), moment2 = fp16_elements(row.moment2);
  const Elements grad = e4m3_elements(row.grad), moment1 = e4m3_elements(row.moment1);
  const AdamWLanes c = folded(AdamWLanes(step), grad, moment1, moment2);
  const F32 eps = splat(step.eps), decay = splat(step.decay) * weight.scale, root = splat(step.inverse_root2),
            size = splat(step.step_size);
  const F32 to_w = splat(1 / out.weight_scale), to_v = splat(1 / out.moment2_scale);
  const CodeGrid e4m3{.mantissa_bits = 3, .bias = 7, .min_normal = 0x1p-6f};
  const ScaledGrid<3> moment1_grid(e4m3, out.moment1_scale);
  U32 amax_w = splat(0u), amax_m = splat(0u), amax_v = splat(0u);
  const auto fetch = [&](int64_t i) OCTAVO_LAMBDA {
    fetch_next(weight, i, row.n);
    fetch_next(grad, i, row.n);
    fetch_next(moment1, i, row.n);
    fetch_next(moment2, i, row.n);
  };
  F32 g = zero(), m_before = zero(), v_before = zero();  // read
  F32 m = zero(), v = zero();                            // new moments
  Two divided{zero(), zero()};                           // first moment and the root of the second
  F32 by = zero(), w_before = zero();
  const auto turn = [&](int64_t at, auto stages, auto lanes) OCTAVO_LAMBDA {
    const Two to_divide = divided, moments{m, v}, to_move{w_before, by};
    const F32 read_g = g, read_m = m_before, read_v = v_before;
    if constexpr (stages.has(0)) {
      g = unscaled(grad, at, lanes);
      m_before = unscaled(moment1, at, lanes);
      v_before = unscaled(moment2, at, lanes);
    }
    if constexpr (stages.has(3)) {
      by = to_divide.first / (to_divide.second * root + eps);
      w_before = unscaled(weight, at - 3 * kLanes, lanes) * decay;
    }
    if constexpr (stages.has(2)) divided = {moments.first, sqrt(moments.second)};
    if constexpr (stages.has(1)) {
      const Two next = new_moments(c, read_g, read_m, read_v);
      m = next.first;
      v = next.second;
    }
    if constexpr (stages.has(4)) {
      const F32 w = to_move.first - size * to_move.second;
      store_low_half(out.weight + at - 4 * kLanes, narrow_fp16(w * to_w), lanes);
      track(amax_w, w, lanes);
    }
    if constexpr (stages.has(2)) {
      const int64_t i = at - 2 * kLanes;
      store_low_byte(out.moment1 + i, code_of_bounded(moments.first, moment1_grid), lanes);
      store_low_half(out.moment2 + i, narrow_fp16(moments.second * to_v), lanes);
      track(amax_m, moments.first, lanes);
      track_positive(amax_v, moments.second, lanes);
    }
  };
  int64_t i = 0;
  if (row.n >= 4 * kLanes) {
    fetch(0);
    fetch(2 * kLanes);
    turn(0, Stages<0, 0>{}, All{});
    turn(kLanes, Stages<0, 1>{}, All{});
    turn(2 * kLanes, Stages<0, 2>{}, All{});
    turn(3 * kLanes, Stages<0, 3>{}, All{});
    for (i = 4 * kLanes; i + 2 * kLanes <= row.n; i += 2 * kLanes) {
      fetch(i);  // a line of the longest elements
      turn(i, Stages<0, 4>{}, All{});
      turn(i + kLanes, Stages<0, 4>{}, All{});
    }
    if (i + kLanes <= row.n) {
      fetch(i);
      turn(i, Stages<0, 4>{}, All{});
      i += kLanes;
    }
    turn(i, Stages<1, 4>{}, All{});
    turn(i + kLanes, Stages<2, 4>{}, All{});
    turn(i + 2 * kLanes, Stages<3, 4>{}, All{});
    turn(i + 3 * kLanes, Stages<4, 4>{}, All{});
  }
  sweep(row.n - i, [&](int64_t rest, auto lanes) OCTAVO_LAMBDA {
    const int64_t at = i + rest;
    turn(at, Stages<0, 0>{}, lanes);
    turn(at + kLanes, Stages<1, 1>{}, lanes);
    turn(at + 2 * kLanes, Stages<2, 2>{}, lanes);
    turn(at + 3 * kLanes, Stages<3, 3>{}, lanes);
    turn(at + 4 * kLanes, Stages<4, 4>{}, lanes);
  });
  row.amax_weight = largest(amax_w);
  row.amax_moment1 = largest(amax_m);
  row.amax_moment2 = largest(amax_v);
  const auto within = [](uint32_t amax, float scale, float most) {
    float top = 0;
    __builtin_memcpy(&top, &amax, 4);
    return top / scale <= most;
  };
  return within(row.amax_weight, out.weight_scale, 65504) &&
         within(row.amax_moment1, out.moment1_scale, 448) &&
         within(row.amax_moment2, out.moment2_scale, 65504);
}

void adamw_moments(const AdamWStep& step, OptimizerRow& row) {
  const auto pass = [&](const AdamWLanes& c, auto value) OCTAVO_LAMBDA {
    U32 amax_m = splat(0u), amax_v = splat(0u);
    sweep(row.n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      const auto [grad, moment1, moment2] = value(i, lanes);
      const auto [m, v] = new_moments(c, grad, moment1, moment2);
      track(amax_m, m, lanes);
      track(amax_v, v, lanes);
    });
    row.amax_moment1 = largest(amax_m);
    row.amax_moment2 = largest(amax_v);
  };
  if (moments_are_fp8lm(step, row)) {
    const Elements grad = e4m3_elements(row.grad), moment1 = e4m3_elements(row.moment1);
    const Elements moment2 = fp16_elements(row.moment2);
    pass(folded(AdamWLanes(step), grad, moment1, moment2), [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
      fetch_next(grad, i, row.n);
      fetch_next(moment1, i, row.n);
      fetch_next(moment2, i, row.n);
      return Three{unscaled(grad, i, lanes), unscaled(moment1, i, lanes), unscaled(moment2, i, lanes)};
    });
    if (!is_nan(row.amax_moment2)) return;
  }
  const AnyElements g = any_elements(row.grad, row.n), m = any_elements(row.moment1, row.n),
                    v = any_elements(row.moment2, row.n);
  pass(AdamWLanes(step), [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    return Three{load(g, i, lanes), load(m, i, lanes), load(v, i, lanes)};
  });
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
