// SPDX-License-Identifier: Apache-2.0
// Included inside an instruction set's namespace, after rows_common-inl.h.

uint32_t norm_apply(const NormForwardRow& row) {
  const F32 means = splat(row.rms ? 0.0f : row.mean), factor = splat(row.rstd);
  const ConstRow x = row.x;
  const Row out = row.y;
  const float* gamma = row.gamma;
  const float* beta = row.beta;
  const ConstRow skip = row.skip;
  const F32 skip_factor = splat(row.skip_factor), y_factor = splat(row.y_factor);
  U32 amax = splat(0u);
  sweep(row.cols, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    const F32 h = (load(x, i, lanes) - means) * factor;
    const F32 g = load(gamma + i, lanes);
    F32 y = beta ? fma(h, g, load(beta + i, lanes)) : h * g;
    if (skip.data) y = fma(skip_factor, load(skip, i, lanes), y_factor * y);
    track(amax, store(out, i, y, lanes), lanes);
  });
  return largest(amax);
}

uint32_t norm_forward(NormForwardRow& row) {
  const int64_t n = row.cols;
  ConstRow x = row.x;
  const bool rms = row.rms, summed = row.residual.data != nullptr;
  const F32 x_factor = splat(row.x_factor);
  // First pass: the addition, and the sum (layer) or the sum of squares (rms).
  const F32 first = fold(
      n, zero(),
      [&](F32& acc, int64_t i, auto lanes) OCTAVO_LAMBDA {
        F32 v = load(x, i, lanes);
        if (summed) v = store(row.sum, i, fma(x_factor, v, load(row.residual, i, lanes)), lanes);
        acc = rms ? fma(v, v, acc) : acc + v;
      },
      JoinSums{});
  if (summed) x = {row.sum.data, row.sum.bf16};
  const float mean = rms ? 0.0f : sum(first) / static_cast<float>(n);
  const F32 means = splat(mean);
  float square = 0;
  if (rms) {
    square = sum(first);
  } else {
    square = sum(fold(
        n, zero(),
        [&](F32& acc, int64_t i, auto lanes) OCTAVO_LAMBDA {
          const F32 d = used_or(load(x, i, lanes) - means, zero(), lanes);
          acc = fma(d, d, acc);
        },
        JoinSums{}));
  }
  row.mean = mean;
  row.rstd = 1.0f / __builtin_sqrtf(square / static_cast<float>(n) + row.eps);
  if (!row.y.data) return 0;
  NormForwardRow apply = row;
  apply.x = x;
  return norm_apply(apply);
}

void norm_backward(const NormBackwardRow& row) {
  const int64_t n = row.cols;
  const F32 mean = splat(row.rms ? 0.0f : row.mean), rstd = splat(row.rstd);
  const ConstRow x = row.x, dy = row.dy, residual = row.residual_grad;
  const Row dx = row.dx, dskip = row.dskip;
  const F32 dy_factor = splat(row.dy_factor), residual_factor = splat(row.residual_factor);
  const F32 skip_factor = splat(row.skip_factor);
  const float* gamma = row.gamma;
  float* dgamma = row.dgamma;
  float* dbeta = row.dbeta;
  const Two sums = fold(
      n, Two{zero(), zero()},
      [&](Two& acc, int64_t i, auto lanes) OCTAVO_LAMBDA {
        const F32 d = load(dy, i, lanes) * dy_factor, h = (load(x, i, lanes) - mean) * rstd;
        const F32 g = d * load(gamma + i, lanes);
        acc.first = acc.first + g;
        acc.second = fma(g, h, acc.second);
        store(dgamma + i, fma(d, h, load(dgamma + i, lanes)), lanes);
        if (dbeta) store(dbeta + i, load(dbeta + i, lanes) + d, lanes);
      },
      JoinSums{});
  const F32 average_g = splat(row.rms ? 0.0f : sum(sums.first) / static_cast<float>(n));
  const F32 average_gh = splat(sum(sums.second) / static_cast<float>(n));
  sweep(n, [&](int64_t i, auto lanes) OCTAVO_LAMBDA {
    const F32 whole = load(dy, i, lanes);
    const F32 h = (load(x, i, lanes) - mean) * rstd, g = whole * dy_factor * load(gamma + i, lanes);
    F32 d = rstd * fnma(h, average_gh, g - average_g);
    if (residual.data) d = fma(residual_factor, load(residual, i, lanes), d);
    if (dskip.data) store(dskip, i, whole * skip_factor, lanes);
    store(dx, i, d, lanes);
  });
}
