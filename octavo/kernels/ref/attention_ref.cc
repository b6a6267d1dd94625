// SPDX-License-Identifier: Apache-2.0
// Attention as it is written in a textbook, in double: the oracle of the other variants.
#include <algorithm>
#include <cmath>
#include <limits>

#include "octavo/kernels/attention_variants.h"
#include "octavo/numerics/bf16.h"
#include "octavo/numerics/float_bits.h"

namespace octavo {
namespace {

double load(const AttentionUnit& u, const void* data, int64_t i) {
  return u.bf16 ? bf16_to_float(static_cast<const uint16_t*>(data)[i]) : static_cast<const float*>(data)[i];
}

/// Returns what is then stored.
float store(const AttentionUnit& u, void* data, int64_t i, double value) {
  const float x = static_cast<float>(value);
  if (!u.bf16) return static_cast<float*>(data)[i] = x;
  return bf16_to_float(static_cast<uint16_t*>(data)[i] = bf16_from_float(x));
}

/// Where row r of q, out, dout or dq starts.
int64_t row_start(const AttentionUnit& u, int64_t r, int64_t stride) {
  return r / u.group * stride + r % u.group * u.head_dim;
}

/// How many keys row r sees.
int64_t seen(const AttentionUnit& u, int64_t r) { return r / u.group + u.kv_len - u.q_len + 1; }

double dot(const AttentionUnit& u, const void* a, int64_t a_start, const void* b, int64_t b_start) {
  double sum = 0;
  for (int64_t d = 0; d < u.head_dim; ++d) sum += load(u, a, a_start + d) * load(u, b, b_start + d);
  return sum;
}

double score(const AttentionUnit& u, int64_t r, int64_t j) {
  return u.scale * dot(u, u.q, row_start(u, r, u.q_stride), u.k, j * u.k_stride);
}

constexpr int64_t kRowTile = 16;

size_t forward_scratch(const AttentionUnit& u) { return sizeof(double) * static_cast<size_t>(u.head_dim); }

uint32_t forward(const AttentionUnit& u, void* scratch) {
  double* sum = static_cast<double*>(scratch);
  uint32_t amax = 0;
  const int64_t last_row = std::min(u.first_row + kRowTile, u.q_len * u.group);
  for (int64_t r = u.first_row; r < last_row; ++r) {
    double top = -std::numeric_limits<double>::infinity(), total = 0;
    for (int64_t j = 0; j < seen(u, r); ++j) top = std::max(top, score(u, r, j));
    std::fill(sum, sum + u.head_dim, 0.0);
    for (int64_t j = 0; j < seen(u, r); ++j) {
      const double e = std::exp(score(u, r, j) - top), weight = u.sqrt_softmax ? std::sqrt(e) : e;
      total += e;
      for (int64_t d = 0; d < u.head_dim; ++d) sum[d] += weight * load(u, u.v, j * u.v_stride + d);
    }
    const double divisor = u.sqrt_softmax ? std::sqrt(total) : total;
    for (int64_t d = 0; d < u.head_dim; ++d) {
      const float stored = store(u, u.out, row_start(u, r, u.out_stride) + d, sum[d] / divisor);
      amax = std::max(amax, float_bits(stored) & 0x7fffffff);
    }
    if (u.lse) u.lse[r % u.group * u.q_len + r / u.group] = static_cast<float>(top + std::log(total));
  }
  return amax;
}

struct Pair {
  double p, ds;
};

/// Weight of value (r, j), its probability or the root of that, and gradient of score (r, j).
Pair probability(const AttentionUnit& u, int64_t r, int64_t j) {
  const int64_t o = row_start(u, r, u.out_stride), g = row_start(u, r, u.dout_stride);
  const double p = std::exp(score(u, r, j) - u.lse[r % u.group * u.q_len + r / u.group]);
  const double dp = dot(u, u.dout, g, u.v, j * u.v_stride), row_sum = dot(u, u.dout, g, u.out, o);
  if (!u.sqrt_softmax) return {p, p * (dp - row_sum)};
  const double c = std::sqrt(p);
  return {c, (c * dp - p * row_sum) / 2};
}

size_t backward_scratch(const AttentionUnit& u) { return 2 * forward_scratch(u); }

void backward(const AttentionUnit& u, void* scratch) {
  const int64_t rows = u.q_len * u.group, width = u.head_dim;
  double *a = static_cast<double*>(scratch), *b = a + width;
  for (int64_t r = 0; r < rows; ++r) {
    std::fill(a, a + width, 0.0);
    for (int64_t j = 0; j < seen(u, r); ++j) {
      const double ds = probability(u, r, j).ds;
      for (int64_t d = 0; d < width; ++d) a[d] += ds * load(u, u.k, j * u.k_stride + d);
    }
    for (int64_t d = 0; d < width; ++d) store(u, u.dq, row_start(u, r, u.dq_stride) + d, u.scale * a[d]);
  }
  for (int64_t j = 0; j < u.kv_len; ++j) {
    std::fill(a, a + 2 * width, 0.0);
    for (int64_t r = 0; r < rows; ++r) {
      if (j >= seen(u, r)) continue;
      const Pair x = probability(u, r, j);
      const int64_t q = row_start(u, r, u.q_stride), g = row_start(u, r, u.dout_stride);
      for (int64_t d = 0; d < width; ++d) a[d] += x.ds * load(u, u.q, q + d);
      for (int64_t d = 0; d < width; ++d) b[d] += x.p * load(u, u.dout, g + d);
    }
    for (int64_t d = 0; d < width; ++d) store(u, u.dk, j * u.dk_stride + d, u.scale * a[d]);
    for (int64_t d = 0; d < width; ++d) store(u, u.dv, j * u.dv_stride + d, b[d]);
  }
}

}  // namespace

constinit const AttentionVariant kAttentionRef = {.row_tile = kRowTile,
                                                  .takes = nullptr,
                                                  .forward_scratch = forward_scratch,
                                                  .backward_scratch = backward_scratch,
                                                  .forward = forward,
                                                  .backward = backward};

}  // namespace octavo
