// SPDX-License-Identifier: Apache-2.0
// GPT-2 (Radford et al. 2019), Llama (arXiv:2302.13971, grouped heads as in arXiv:2307.09288) and the GPT
// under a parametrization (arXiv:2502.05967, tables 2 and 6) in double precision and plain loops, from the
// papers' formulas and Hugging Face's names and conventions. It shares no arithmetic with the engine.
#pragma once
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "octavo/nn/model_config.h"
#include "octavo/nn/parameter.h"

namespace octavo {

class ReferenceModel {
 public:
  using Values = std::vector<double>;

  ReferenceModel(const ModelConfig& config, const ParameterSet& parameters) : c_(config) {
    for (const Parameter& p : parameters.all()) weights_[p.name] = Values(p.value, p.value + p.size());
  }
  Values& weight(const std::string& name) { return weights_.at(name); }

  /// [batch * seq, vocab]
  Values logits(const std::vector<int32_t>& tokens, int64_t batch, int64_t seq) const {
    const int64_t rows = batch * seq;
    const bool gpt2 = c_.family == Family::gpt2;
    const std::string table = gpt2 ? "transformer.wte.weight" : "model.embed_tokens.weight";
    Values x(at(rows * c_.width));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t i = 0; i < c_.width; ++i) {
        x[at(r * c_.width + i)] = get(table)[at(tokens[at(r)] * c_.width + i)];
        if (gpt2) x[at(r * c_.width + i)] += get("transformer.wpe.weight")[at(r % seq * c_.width + i)];
        if (c_.learned_positions)
          x[at(r * c_.width + i)] += get("model.embed_positions.weight")[at(r % seq * c_.width + i)];
      }
    for (int64_t layer = 0; layer < c_.layers; ++layer) {
      const std::string block = (gpt2 ? "transformer.h." : "model.layers.") + std::to_string(layer);
      if (c_.placement == NormPlacement::res_post) {
        join(x, norm(attention(block, x, batch, seq), block + ".post_attention_layernorm"), 2 * layer);
        join(x, norm(mlp(block + ".mlp", x), block + ".post_feedforward_layernorm"), 2 * layer + 1);
        continue;
      }
      join(x, attention(block, norm(x, block + (gpt2 ? ".ln_1" : ".input_layernorm")), batch, seq),
           2 * layer);
      join(x, mlp(block + ".mlp", norm(x, block + (gpt2 ? ".ln_2" : ".post_attention_layernorm"))),
           2 * layer + 1);
    }
    if (c_.final_norm) x = norm(x, gpt2 ? "transformer.ln_f" : "model.norm");
    Values y = product(x, get(c_.tied_head ? table : "lm_head.weight"), c_.width, c_.vocab_size);
    const double n = static_cast<double>(c_.width);
    for (double& v : y)
      v *= c_.scheme == Scheme::sp ? 1 : c_.scheme == Scheme::unit ? 1 / std::sqrt(n) : 1 / n;
    return y;
  }

  /// Mean cross-entropy over the targets that are not -100.
  double loss(const std::vector<int32_t>& tokens, const std::vector<int32_t>& targets, int64_t batch,
              int64_t seq) const {
    const Values all = logits(tokens, batch, seq);
    double sum = 0;
    int64_t counted = 0;
    for (int64_t r = 0; r < batch * seq; ++r) {
      if (targets[at(r)] == -100) continue;
      const double* row = all.data() + r * c_.vocab_size;
      double largest = row[0], exponentials = 0;
      for (int64_t v = 0; v < c_.vocab_size; ++v) largest = std::max(largest, row[v]);
      for (int64_t v = 0; v < c_.vocab_size; ++v) exponentials += std::exp(row[v] - largest);
      sum += largest + std::log(exponentials) - row[targets[at(r)]];
      ++counted;
    }
    return sum / static_cast<double>(counted);
  }

 private:
  static size_t at(int64_t i) { return static_cast<size_t>(i); }
  const Values& get(const std::string& name) const { return weights_.at(name); }
  /// The n-th branch, from 0, joins the stream.
  void join(Values& x, const Values& y, int64_t n) const {
    double skip = 1, branch = 1;
    if (c_.residual == Residual::fixed) {
      skip = std::sqrt(1 - c_.tau);
      branch = std::sqrt(c_.tau);
    } else if (c_.residual == Residual::running_mean) {
      const double l = static_cast<double>(n + 1);
      skip = std::sqrt(l / (l + 1));
      branch = std::sqrt(1 / (l + 1));
    }
    for (size_t i = 0; i < x.size(); ++i) x[i] = skip * x[i] + branch * y[i];
  }

  /// x [rows, in] times w [out, in] transposed.
  static Values product(const Values& x, const Values& w, int64_t in, int64_t out) {
    const int64_t rows = static_cast<int64_t>(x.size()) / in;
    Values y(at(rows * out));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t o = 0; o < out; ++o) {
        double sum = 0;
        for (int64_t i = 0; i < in; ++i) sum += x[at(r * in + i)] * w[at(o * in + i)];
        y[at(r * out + o)] = sum;
      }
    return y;
  }
  Values linear(const Values& x, const std::string& name, int64_t in, int64_t out) const {
    Values y = product(x, get(name + ".weight"), in, out);
    const bool scaled = c_.multipliers && (c_.scheme == Scheme::munit || c_.scheme == Scheme::unit ||
                                           c_.scheme == Scheme::umup);
    if (scaled)
      for (double& v : y) v /= std::sqrt(static_cast<double>(in));
    if (c_.family == Family::gpt2)
      for (size_t i = 0; i < y.size(); ++i) y[i] += get(name + ".bias")[i % at(out)];
    return y;
  }

  Values norm(const Values& x, const std::string& name) const {
    const int64_t n = c_.width, rows = static_cast<int64_t>(x.size()) / n;
    Values y(x.size());
    for (int64_t r = 0; r < rows; ++r) {
      const double* in = x.data() + r * n;
      double mean = 0, square = 0;
      if (c_.family != Family::llama)
        for (int64_t i = 0; i < n; ++i) mean += in[i] / static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) square += (in[i] - mean) * (in[i] - mean) / static_cast<double>(n);
      for (int64_t i = 0; i < n; ++i) {
        y[at(r * n + i)] = (in[i] - mean) / std::sqrt(square + c_.norm_eps) * get(name + ".weight")[at(i)];
        if (c_.family == Family::gpt2) y[at(r * n + i)] += get(name + ".bias")[at(i)];
      }
    }
    return y;
  }

  double activate(double x) const {
    const double pi = 3.14159265358979323846;
    switch (c_.activation) {
      case Activation::gelu_tanh:
        return 0.5 * x * (1 + std::tanh(std::sqrt(2 / pi) * (x + 0.044715 * x * x * x)));
      case Activation::gelu:
        return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
      case Activation::relu:
        return x > 0 ? x : 0;
      case Activation::silu:
        return x / (1 + std::exp(-x));
    }
    return 0;
  }

  Values mlp(const std::string& name, const Values& x) const {
    if (c_.family == Family::gpt2) {
      Values h = linear(x, name + ".c_fc", c_.width, c_.ffn);
      for (double& v : h) v = activate(v);
      return linear(h, name + ".c_proj", c_.ffn, c_.width);
    }
    if (c_.family == Family::octavo) {
      Values h = linear(x, name + ".up_proj", c_.width, c_.ffn);
      for (double& v : h) v = activate(v);
      return linear(h, name + ".down_proj", c_.ffn, c_.width);
    }
    Values gate = linear(x, name + ".gate_proj", c_.width, c_.ffn);
    const Values up = linear(x, name + ".up_proj", c_.width, c_.ffn);
    for (size_t i = 0; i < gate.size(); ++i) gate[i] = activate(gate[i]) * up[i];
    return linear(gate, name + ".down_proj", c_.ffn, c_.width);
  }

  /// Rotates pairs (i, i + head_dim / 2) of every head by position * theta^(-2i / head_dim).
  void rotate(Values& x, int64_t heads, int64_t seq) const {
    const int64_t d = c_.head_dim, rows = static_cast<int64_t>(x.size()) / (heads * d);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t h = 0; h < heads; ++h)
        for (int64_t i = 0; i < d / 2; ++i) {
          const double angle =
              static_cast<double>(r % seq) *
              std::pow(c_.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(d));
          double& a = x[at(r * heads * d + h * d + i)];
          double& b = x[at(r * heads * d + h * d + i + d / 2)];
          const double turned = a * std::cos(angle) - b * std::sin(angle);
          b = b * std::cos(angle) + a * std::sin(angle);
          a = turned;
        }
  }

  Values attention(const std::string& block, const Values& x, int64_t batch, int64_t seq) const {
    const int64_t q_width = c_.heads * c_.head_dim, kv_width = c_.kv_heads * c_.head_dim, rows = batch * seq;
    Values q, k, v;
    if (c_.family != Family::llama) {
      const std::string name = c_.family == Family::gpt2 ? ".attn.c_attn" : ".self_attn.qkv_proj";
      const int64_t width = q_width + 2 * kv_width;
      const Values all = linear(x, block + name, c_.width, width);
      for (int64_t r = 0; r < rows; ++r) {
        const auto begin = all.begin() + r * width;
        q.insert(q.end(), begin, begin + q_width);
        k.insert(k.end(), begin + q_width, begin + q_width + kv_width);
        v.insert(v.end(), begin + q_width + kv_width, begin + width);
      }
      if (c_.family == Family::octavo && !c_.learned_positions) {
        rotate(q, c_.heads, seq);
        rotate(k, c_.kv_heads, seq);
      }
    } else {
      q = linear(x, block + ".self_attn.q_proj", c_.width, q_width);
      k = linear(x, block + ".self_attn.k_proj", c_.width, kv_width);
      v = linear(x, block + ".self_attn.v_proj", c_.width, kv_width);
      rotate(q, c_.heads, seq);
      rotate(k, c_.kv_heads, seq);
    }
    Values out(at(rows * q_width), 0.0);
    for (int64_t b = 0; b < batch; ++b)
      for (int64_t h = 0; h < c_.heads; ++h)
        for (int64_t t = 0; t < seq; ++t) attend(q, k, v, b * seq, t, h, out);
    const char* name = c_.family == Family::gpt2 ? ".attn.c_proj" : ".self_attn.o_proj";
    return linear(out, block + name, q_width, c_.width);
  }

  /// One query: softmax(q k / sqrt(d)) v (or q k / d; or the square roots of the weights) over the keys up to
  /// and with its own position.
  void attend(const Values& q, const Values& k, const Values& v, int64_t first, int64_t t, int64_t h,
              Values& out) const {
    const int64_t d = c_.head_dim, q_width = c_.heads * d, kv_width = c_.kv_heads * d;
    const int64_t query = (first + t) * q_width + h * d, shared = h / (c_.heads / c_.kv_heads) * d;
    Values p(at(t + 1));
    double sum = 0;
    for (int64_t s = 0; s <= t; ++s) {
      double score = 0;
      for (int64_t i = 0; i < d; ++i) score += q[at(query + i)] * k[at((first + s) * kv_width + shared + i)];
      const double width = static_cast<double>(d);
      p[at(s)] = std::exp(score / (c_.scheme == Scheme::mup ? width : std::sqrt(width)));
      sum += p[at(s)];
    }
    for (double& weight : p) weight = c_.sqrt_softmax ? std::sqrt(weight / sum) : weight / sum;
    for (int64_t s = 0; s <= t; ++s)
      for (int64_t i = 0; i < d; ++i)
        out[at(query + i)] += p[at(s)] * v[at((first + s) * kv_width + shared + i)];
  }

  ModelConfig c_;
  std::map<std::string, Values> weights_;
};

}  // namespace octavo
