// SPDX-License-Identifier: Apache-2.0
// Attention of training, both passes.
#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "bench.h"
#include "octavo/base/error.h"
#include "octavo/kernels/attention.h"
#include "octavo/kernels/attention_shape.h"
#include "octavo/kernels/peak.h"

namespace octavo {
namespace {

struct AttentionOptions : BenchOptions {
  std::string shapes = "b4h12k12t1024d64,b1h32k8t2048d64", types = "bf16", passes = "forward,backward";
};

/// q, k and v side by side in a row, as one projection leaves them.
struct Matrices {
  Buffer qkv, out, dout, dqkv, lse;
  ConstMatrix q, k, v;
  Matrix dq, dk, dv;

  Matrices(const AttentionShape& s, Format format)
      : qkv(random_matrix(s.batch * s.q_len * width(s), format, 1)),
        out(static_cast<size_t>(s.batch * s.q_len * s.heads * s.head_dim * bytes(format))),
        dout(random_matrix(s.batch * s.q_len * s.heads * s.head_dim, format, 2)),
        dqkv(qkv.size()),
        lse(static_cast<size_t>(s.batch * s.heads * s.q_len) * sizeof(float)) {
    const auto part = [&](Buffer& buffer, int64_t first, int64_t heads) {
      return Matrix{buffer.as<char>() + first * s.head_dim * bytes(format), format, s.batch * s.q_len,
                    heads * s.head_dim, width(s)};
    };
    q = part(qkv, 0, s.heads);
    k = part(qkv, s.heads, s.kv_heads);
    v = part(qkv, s.heads + s.kv_heads, s.kv_heads);
    dq = part(dqkv, 0, s.heads);
    dk = part(dqkv, s.heads, s.kv_heads);
    dv = part(dqkv, s.heads + s.kv_heads, s.kv_heads);
  }
  static int64_t width(const AttentionShape& s) { return (s.heads + 2 * s.kv_heads) * s.head_dim; }
};

void bench_attention_of(const AttentionOptions& o, const AttentionShape& s, Format format, ThreadPool& pool) {
  Matrices m(s, format);
  const int64_t rows = s.batch * s.q_len, cols = s.heads * s.head_dim;
  const Matrix out = dense(m.out.data(), format, rows, cols);
  const Buffer scratch(attention_workspace(s, pool.size()) + 64);
  Workspace workspace(scratch.data(), scratch.size());
  const auto forward = [&] {
    attention_forward(s, m.q, m.k, m.v, out, m.lse.as<float>(), nullptr, pool, workspace);
  };
  const auto backward = [&] {
    attention_backward(s, dense(m.dout.data(), format, rows, cols), m.q, m.k, m.v, out, m.lse.as<float>(),
                       m.dq, m.dk, m.dv, pool, workspace);
  };
  forward();  // gives the backward pass its inputs
  const std::string variant = attention_variant(s, format), shape = to_string(s);
  UnitPeak peak(variant, pool);  // kernels of a name run on the same unit
  for (const std::string& pass : split_list(o.passes)) {
    if (pass != "forward" && pass != "backward")
      fail_usage(fmt::format("--passes: '{}' is unknown, expected forward or backward", pass));
    const bool is_forward = pass == "forward";
    const double work = is_forward ? attention_forward_flops(s) : attention_backward_flops(s);
    const BenchTiming time = bench_against(
        o.reps, work, [&] { return peak.now(); },
        is_forward ? std::function<void()>(forward) : std::function<void()>(backward));
    const double rate = work / time.median;
    nlohmann::ordered_json j{{"bench", "attention"},
                             {"shape", shape},
                             {"pass", pass},
                             {"types", std::string(to_string(format))},
                             {"variant", variant},
                             {"threads", pool.size()},
                             {"gflops", rate / 1e9},
                             {"peak", peak.name()},
                             {"peak_gflops", time.limit / 1e9},
                             {"ratio_to_peak", time.ratio},
                             {"median_ms", time.median * 1e3},
                             {"spread", time.spread}};
    bench_emit(o, j,
               fmt::format(
                   "{:<20} {:<8} {:<4} {:<10} {:8.1f} GFLOP/s  {:5.1f} % of {} ({:.0f})  {:.3f} ms ±{:.0f} %",
                   shape, pass, to_string(format), variant, rate / 1e9, 100 * time.ratio, peak.name(),
                   time.limit / 1e9, time.median * 1e3, 50 * time.spread));
  }
}

}  // namespace

void add_bench_attention(CLI::App& bench) {
  auto o = std::make_shared<AttentionOptions>();
  CLI::App* c = bench.add_subcommand("attention",
                                     "Causal attention of training. Counted are two products forward and "
                                     "five backward, of the keys that queries "
                                     "see; the softmax is not");
  c->add_option("--shapes", o->shapes,
                "Problems: batch, heads, key/value heads, tokens, head_dim, comma-separated")
      ->capture_default_str();
  c->add_option("--types", o->types, "bf16, fp32")->capture_default_str();
  c->add_option("--passes", o->passes, "forward, backward")->capture_default_str();
  add_bench_options(c, *o);
  c->footer("Example:\n  octavo bench attention --shapes b4h12k12t1024d64 --types bf16,fp32 --json");
  c->callback([o] {
    ThreadPool pool(o->threads);
    for (const std::string& shape : split_list(o->shapes))
      for (const std::string& type : split_list(o->types))
        bench_attention_of(*o, parse_attention_shape(shape, "--shapes"), bench_format(type), pool);
  });
}

}  // namespace octavo
