// SPDX-License-Identifier: Apache-2.0
// Inputs and outputs of one attention call, and how far two results may be apart.
#pragma once
#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "octavo/kernels/attention.h"
#include "octavo/kernels/attention_shape.h"
#include "octavo/numerics/bf16.h"
#include "tests/isa_scope.h"

namespace octavo {

/// The instruction sets that have a variant of their own for this.
inline std::vector<Isa> fast_isas(const AttentionShape& shape, Format format) {
  std::vector<Isa> list;
  for (Isa isa : {Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx}) {
    IsaScope scope(isa);
    if (isa <= cpu_isa() && attention_variant(shape, format) == std::string(to_string(isa)))
      list.push_back(isa);
  }
  return list;
}

/// Whether that variant rounds probabilities, and gradients of scores, to BF16 (it then takes only BF16).
inline bool rounds_probabilities(Isa isa) { return isa >= Isa::avx512bf16; }

/// A matrix with room around its columns, filled with a number that must survive.
class Padded {
 public:
  static constexpr float kGuard = 77.0f;

  Padded(Format format, int64_t rows, int64_t cols, int64_t left = 3, int64_t right = 5)
      : format_(format), rows_(rows), cols_(cols), left_(left), stride_(left + cols + right) {
    data_.resize(static_cast<size_t>(rows * stride_ * bytes(format)));
    for (int64_t i = 0; i < rows * stride_; ++i) put(i, kGuard);
  }
  Matrix view() { return slice(0, cols_); }
  Matrix slice(int64_t first, int64_t cols) {
    return {data_.data() + (left_ + first) * bytes(format_), format_, rows_, cols, stride_};
  }
  float at(int64_t r, int64_t c) const { return get(r * stride_ + left_ + c); }
  void set(int64_t r, int64_t c, float x) { put(r * stride_ + left_ + c, x); }
  void randomize(std::mt19937& rng, float size) {
    std::normal_distribution<float> normal(0.0f, size);
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < cols_; ++c) set(r, c, normal(rng));
  }
  bool guards_intact() const {
    for (int64_t r = 0; r < rows_; ++r)
      for (int64_t c = 0; c < stride_; ++c)
        if ((c < left_ || c >= left_ + cols_) && get(r * stride_ + c) != kGuard) return false;
    return true;
  }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  const std::vector<char>& raw() const { return data_; }

 private:
  float get(int64_t i) const {
    if (format_ == Format::bf16) return bf16_to_float(reinterpret_cast<const uint16_t*>(data_.data())[i]);
    return reinterpret_cast<const float*>(data_.data())[i];
  }
  void put(int64_t i, float x) {
    if (format_ == Format::bf16)
      reinterpret_cast<uint16_t*>(data_.data())[i] = bf16_from_float(x);
    else
      reinterpret_cast<float*>(data_.data())[i] = x;
  }

  Format format_;
  int64_t rows_, cols_, left_, stride_;
  std::vector<char> data_;
};

/// Everything of one call. q, k and v are column slices of one matrix where they have as many rows, as in
/// GPT-2.
struct Problem {
  AttentionShape shape;
  Format format;
  bool fused;
  Padded qkv, cache_k, cache_v, out, dout, dqkv;
  std::vector<float> lse;
  float amax = 0;

  Problem(const AttentionShape& s, Format f, float size = 1.0f, unsigned seed = 1)
      : shape(s),
        format(f),
        fused(s.q_len == s.kv_len && s.kv_batch_stride == 0),
        qkv(f, s.batch * s.q_len, (s.heads + (fused ? 2 * s.kv_heads : 0)) * s.head_dim),
        cache_k(f, fused ? 0 : s.batch * kv_stride(), s.kv_heads * s.head_dim),
        cache_v(f, fused ? 0 : s.batch * kv_stride(), s.kv_heads * s.head_dim, 1, 2),
        out(f, s.batch * s.q_len, s.heads * s.head_dim),
        dout(f, s.batch * s.q_len, s.heads * s.head_dim, 0, 4),
        dqkv(f, s.batch * s.q_len, qkv.cols()),
        lse(static_cast<size_t>(s.batch * s.heads * s.q_len)) {
    std::mt19937 rng(seed);
    qkv.randomize(rng, size);
    cache_k.randomize(rng, size);
    cache_v.randomize(rng, size);
    dout.randomize(rng, 1.0f);
  }
  int64_t kv_stride() const { return shape.kv_batch_stride ? shape.kv_batch_stride : shape.kv_len; }
  int64_t q_cols() const { return shape.heads * shape.head_dim; }
  int64_t kv_cols() const { return shape.kv_heads * shape.head_dim; }
  Matrix q() { return qkv.slice(0, q_cols()); }
  Matrix k() { return fused ? qkv.slice(q_cols(), kv_cols()) : cache_k.view(); }
  Matrix v() { return fused ? qkv.slice(q_cols() + kv_cols(), kv_cols()) : cache_v.view(); }

  void forward(int threads = 1) {
    ThreadPool pool(threads);
    std::vector<char> memory(attention_workspace(shape, threads) + 64);
    Workspace workspace(aligned(memory), memory.size() - 64);
    attention_forward(shape, q(), k(), v(), out.view(), lse.data(), &amax, pool, workspace);
  }
  void backward(int threads = 1) {
    ThreadPool pool(threads);
    std::vector<char> memory(attention_workspace(shape, threads) + 64);
    Workspace workspace(aligned(memory), memory.size() - 64);
    attention_backward(shape, dout.view(), q(), k(), v(), out.view(), lse.data(), dqkv.slice(0, q_cols()),
                       dqkv.slice(q_cols(), kv_cols()), dqkv.slice(q_cols() + kv_cols(), kv_cols()), pool,
                       workspace);
  }
  static void* aligned(std::vector<char>& memory) {
    return reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(memory.data()) + 63) & ~uintptr_t{63});
  }
};

inline AttentionShape square(int64_t length, int64_t heads, int64_t kv_heads, int64_t head_dim,
                             int64_t batch = 1) {
  return {.batch = batch,
          .q_len = length,
          .kv_len = length,
          .heads = heads,
          .kv_heads = kv_heads,
          .head_dim = head_dim,
          .scale = 1.0f / std::sqrt(static_cast<float>(head_dim))};
}

inline AttentionShape root(AttentionShape shape) {
  shape.sqrt_softmax = true;
  return shape;
}

/// "b2h4k2t97d48" (see attention_shape.h).
inline AttentionShape shape_of(const char* text) { return parse_attention_shape(text, "test"); }

inline std::string describe(const Problem& p, Isa isa) {
  const AttentionShape& s = p.shape;
  return std::string(to_string(isa)) + " " + std::string(to_string(p.format)) + " batch " +
         std::to_string(s.batch) + " q_len " + std::to_string(s.q_len) + " kv_len " +
         std::to_string(s.kv_len) + " heads " + std::to_string(s.heads) + "/" + std::to_string(s.kv_heads) +
         " head_dim " + std::to_string(s.head_dim) + (s.sqrt_softmax ? " sqrt" : "");
}

inline float largest(const Padded& a) {
  float top = 0;
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < a.cols(); ++c) top = std::max(top, std::abs(a.at(r, c)));
  return top;
}

/// Largest difference, in units of what is allowed: `absolute` times the largest number, and the step of BF16
/// there.
inline double excess(const Padded& a, const Padded& b, Format format, double absolute) {
  double top = 0, worst = 0;
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < a.cols(); ++c) top = std::max(top, std::abs(static_cast<double>(b.at(r, c))));
  const double relative = format == Format::bf16 ? 0x1p-7 : 0;
  for (int64_t r = 0; r < a.rows(); ++r)
    for (int64_t c = 0; c < a.cols(); ++c) {
      const double x = a.at(r, c), y = b.at(r, c);
      const double ratio = std::abs(x - y) / (absolute * top + relative * std::abs(y) + 1e-30);
      if (std::isnan(ratio)) return ratio;
      worst = std::max(worst, ratio);
    }
  return worst;
}

}  // namespace octavo
