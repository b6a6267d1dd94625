// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "octavo/kernels/ref/rows_ref.h"

namespace octavo {

uint32_t norm_apply_ref(const NormForwardRow& row) {
  uint32_t amax = 0;
  for (int64_t i = 0; i < row.cols; ++i) {
    double y = (get(row.x, i) - double{row.mean}) * row.rstd * row.gamma[i] + (row.beta ? row.beta[i] : 0);
    if (row.skip.data) y = double{row.skip_factor} * get(row.skip, i) + row.y_factor * y;
    amax = std::max(amax, magnitude_bits(put(row.y, i, y)));
  }
  return amax;
}

uint32_t norm_forward_ref(NormForwardRow& row) {
  ConstRow x = row.x;
  if (row.residual.data) {
    for (int64_t i = 0; i < row.cols; ++i)
      put(row.sum, i, double{row.x_factor} * get(row.x, i) + get(row.residual, i));
    x = {row.sum.data, row.sum.bf16};
  }
  const double n = static_cast<double>(row.cols);
  double mean = 0, square = 0;
  if (!row.rms) {
    for (int64_t i = 0; i < row.cols; ++i) mean += get(x, i);
    mean /= n;
  }
  for (int64_t i = 0; i < row.cols; ++i) square += (get(x, i) - mean) * (get(x, i) - mean);
  const double rstd = 1 / std::sqrt(square / n + row.eps);
  row.mean = static_cast<float>(mean);
  row.rstd = static_cast<float>(rstd);
  if (!row.y.data) return 0;
  NormForwardRow apply = row;
  apply.x = x;
  return norm_apply_ref(apply);
}

// With h = (x - mean) rstd and g = dy gamma: dx = rstd (g - avg(g) - h avg(g h)); RMSNorm has no mean and no
// avg(g). dy counts dy_factor times.
void norm_backward_ref(const NormBackwardRow& row) {
  const double mean = row.rms ? 0 : row.mean, rstd = row.rstd, n = static_cast<double>(row.cols);
  const auto h = [&](int64_t i) { return (get(row.x, i) - mean) * rstd; };
  const auto g = [&](int64_t i) { return double{row.dy_factor} * get(row.dy, i) * row.gamma[i]; };
  double avg_g = 0, avg_gh = 0;
  for (int64_t i = 0; i < row.cols; ++i) {
    const double dy = double{row.dy_factor} * get(row.dy, i);
    avg_g += g(i);
    avg_gh += g(i) * h(i);
    row.dgamma[i] = static_cast<float>(row.dgamma[i] + dy * h(i));
    if (row.dbeta) row.dbeta[i] = static_cast<float>(row.dbeta[i] + dy);
  }
  avg_g = row.rms ? 0 : avg_g / n;
  avg_gh /= n;
  for (int64_t i = 0; i < row.cols; ++i) {
    const double dx = rstd * (g(i) - avg_g - h(i) * avg_gh);
    const double around =
        row.residual_grad.data ? double{row.residual_factor} * get(row.residual_grad, i) : 0;
    if (row.dskip.data) put(row.dskip, i, double{row.skip_factor} * get(row.dy, i));
    put(row.dx, i, dx + around);
  }
}

}  // namespace octavo
