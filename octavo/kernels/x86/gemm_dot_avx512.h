// SPDX-License-Identifier: Apache-2.0
// Few rows of A times k-contiguous rows of B, as in generation: each row of B is read once, in order,
// straight from where it lies, and multiplied with all rows of A. One sequential stream a thread is what
// memory likes best; several rows of B at once cost a fifth of the bandwidth.
#pragma once
#include "octavo/kernels/x86/gemm_tile_avx512.h"

namespace octavo {
namespace {

constexpr int kDotSums = 4;  // vectors of sums for each element of C, to hide the latency of an addition
constexpr int64_t kDotAhead = 4 << 10;  // bytes

inline int64_t dot_words(int64_t k, int per_word) {
  return (k + kDotUnit - 1) / kDotUnit * kDotUnit / per_word;
}

/// kDotSums vectors of words of a row of B, the next `n` elements of it.
template <class Reader>
inline __attribute__((always_inline)) void read_dot(const Reader& reader, const char* p, int64_t n,
                                                    __m512i* out) {
  constexpr int64_t kEach = int64_t{16} * Reader::kAlong * Reader::kPerWord;
#pragma GCC unroll 4
  for (int i = 0; i < kDotSums / Reader::kAlong; ++i)
    reader.along(p + i * kEach * Reader::kBytes, n - i * kEach, out + i * Reader::kAlong);
}

/// R rows of A with one row of B.
template <class Dot, int R, class Reader>
void dot_rows(const Reader& reader, const char* b, int64_t k, const int32_t* x, int64_t x_stride, float* out,
              int64_t out_stride) {
  constexpr int64_t kStep = int64_t{16} * kDotSums * Reader::kPerWord;
  constexpr int64_t kStepBytes = kStep * Reader::kBytes;
  __m512 sum[R][kDotSums];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int i = 0; i < kDotSums; ++i) sum[r][i] = _mm512_setzero_ps();
  const auto add = [&](const __m512i* v) __attribute__((always_inline)) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
      for (int i = 0; i < kDotSums; ++i)
        sum[r][i] = Dot::run(sum[r][i], _mm512_load_si512(x + r * x_stride + 16 * i), v[i]);
    x += 16 * kDotSums;
  };
  int64_t done = 0;
  __m512i v[kDotSums];
  for (; done + kStep <= k; done += kStep) {
#pragma GCC unroll 4
    for (int64_t i = 0; i < kStepBytes; i += 64) fetch(b + kDotAhead + i);
    read_dot(reader, b, kStep, v);
    add(v);
    b += kStepBytes;
  }
  if (done < k) {
    read_dot(reader, b, k - done, v);
    add(v);
  }
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
    out[r * out_stride] = _mm512_reduce_add_ps(
        _mm512_add_ps(_mm512_add_ps(sum[r][0], sum[r][1]), _mm512_add_ps(sum[r][2], sum[r][3])));
}

template <class Dot, class Reader>
void dot_with(const GemmDot& g, const Reader& reader) {
  using Rows = void (*)(const Reader&, const char*, int64_t, const int32_t*, int64_t, float*, int64_t);
  constexpr Rows kRowsOf[] = {dot_rows<Dot, 1, Reader>, dot_rows<Dot, 2, Reader>, dot_rows<Dot, 3, Reader>,
                              dot_rows<Dot, 4, Reader>};
  const int64_t words = dot_words(g.k, Reader::kPerWord);
  for (int64_t n = 0; n < g.n; ++n) {
    const char* b = static_cast<const char*>(g.b) + n * g.stride * Reader::kBytes;
    for (int64_t m = 0; m < g.m; m += 4)
      kRowsOf[least(g.m - m, 4) - 1](reader, b, g.k, static_cast<const int32_t*>(g.x) + m * words, words,
                                     g.sum + m * g.sum_stride + n, g.sum_stride);
  }
}

}  // namespace
}  // namespace octavo
