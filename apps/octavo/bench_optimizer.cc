// SPDX-License-Identifier: Apache-2.0
// An optimizer step on tensors kept in few bits, beside the same step on FP32.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <memory>

#include "bench.h"
#include "octavo/base/error.h"
#include "octavo/base/stopwatch.h"
#include "octavo/kernels/adamw.h"
#include "octavo/kernels/lion.h"
#include "octavo/kernels/quantize.h"
#include "octavo/numerics/scale.h"

namespace octavo {
namespace {

struct OptimizerOptions : BenchOptions {
  std::string optimizer = "adamw", weight = "fp16", grad = "e4m3", moment1 = "e4m3", moment2 = "fp16",
              copy = "e4m3";
  int64_t elements = int64_t{1} << 26;
  bool one_pass = false, fused_copy = false;
};

bool scaled(const Stored& x) { return x.data && x.format != Format::fp32 && x.format != Format::bf16; }
float pow2_scale(float amax, Format format) {
  return scale_from_bias(pow2_bias(amax, format, 0, kFloatBiasRange).value_or(0));
}

/// One parameter tensor with what a step of training does to it: amaxes where moments need fresh scales, the
/// step itself, and the copy that GEMMs read.
class Tensor {
 public:
  Tensor(const OptimizerOptions& o, const std::array<Format, 4>& formats, ThreadPool& pool)
      : n_(o.elements),
        adamw_(o.optimizer == "adamw"),
        one_pass_(o.one_pass),
        fused_copy_(o.fused_copy),
        copy_format_(bench_format(o.copy)),
        pool_(pool) {
    Stored* const tensors[] = {&state_.weight, &state_.grad, &state_.moment1, &state_.moment2};
    const float sizes[] = {0.02f, 1e-3f, 1e-3f, 1e-6f};
    const Buffer values = random_matrix(n_, Format::fp32, 1);
    for (size_t i = 0; i < (adamw_ ? 4 : 3); ++i) {
      memory_[i] = Buffer(static_cast<size_t>(n_ * bytes(formats[i])));
      Stored& x = *tensors[i] = {memory_[i].data(), formats[i], 1};
      float* const v = values.as<float>();
      // From the last size to this one; the second moment has no sign.
      const float factor = i == 0 ? sizes[0] : sizes[i] / sizes[i - 1];
      float amax = 0;
      for (int64_t k = 0; k < n_; ++k) {
        v[k] = (i == 3 ? std::abs(v[k]) : v[k]) * factor;
        amax = std::max(amax, std::abs(v[k]));
      }
      if (scaled(x)) x.scale = pow2_scale(amax, x.format);
      encode(v, n_, x, {}, pool_);
    }
    copy_ = Buffer(static_cast<size_t>(n_ * bytes(copy_format_)));
  }

  /// Seconds of the three parts; the last is 0 where the step makes the copy.
  std::array<double, 3> step() {
    AdamWParams adam{.lr = 1e-6f, .decay = 1e-7};
    LionParams sign{.lr = 1e-6f, .decay = 1e-7};
    StepOutput output{.weight = {.fit_margin = 0}};
    if (one_pass_) output.moment1.fit_margin = output.moment2.fit_margin = 0;
    if (fused_copy_) output.copy = {copy_.data(), copy_format_, copy_scale_, 0};
    std::array<double, 3> seconds{};
    Stopwatch watch;
    if (needs_amax()) {
      const StateAmax amax =
          adamw_ ? adamw_amax(adam, state_, n_, false, pool_) : lion_amax(sign, state_, n_, false, pool_);
      output.moment1.scale = pow2_scale(amax.moment1, state_.moment1.format);
      output.moment2.scale = pow2_scale(amax.moment2, state_.moment2.format);
    }
    seconds[0] = watch.seconds();
    watch.restart();
    const StepSeen seen =
        adamw_ ? adamw(adam, state_, output, n_, pool_) : lion(sign, state_, output, n_, pool_);
    state_.weight.scale = seen.weight_scale;
    state_.moment1.scale = seen.moment1_scale;
    state_.moment2.scale = seen.moment2_scale;
    seconds[1] = watch.seconds();
    if (fused_copy_) {
      copy_scale_ = seen.copy_scale;
      return seconds;
    }
    watch.restart();
    const float copy_scale = pow2_scale(seen.weight.amax, copy_format_);
    quantize({.x = dense(state_.weight.data, state_.weight.format, 1, n_),
              .x_scale = state_.weight.scale,
              .out = {.codes = dense(copy_.data(), copy_format_, 1, n_), .scale = &copy_scale}},
             pool_);
    seconds[2] = watch.seconds();
    return seconds;
  }

  bool needs_amax() const { return !one_pass_ && (scaled(state_.moment1) || scaled(state_.moment2)); }
  /// Bytes read and written by all three.
  double traffic() const {
    const auto size = [](const Stored& x) { return x.data ? bytes(x.format) : 0; };
    const int moments = size(state_.moment1) + size(state_.moment2), grad = size(state_.grad);
    const int weight = size(state_.weight);
    return static_cast<double>(n_) * ((needs_amax() ? moments + grad : 0) + grad + 2 * moments + 2 * weight +
                                      (fused_copy_ ? 0 : weight) + bytes(copy_format_));
  }

 private:
  int64_t n_;
  bool adamw_, one_pass_, fused_copy_;
  Format copy_format_;
  float copy_scale_ = 1;
  ThreadPool& pool_;
  std::array<Buffer, 4> memory_;
  Buffer copy_;
  OptimizerState state_;
};

double sum(const std::array<double, 3>& parts) { return parts[0] + parts[1] + parts[2]; }

/// Middle one of each part.
std::array<double, 3> medians(std::vector<std::array<double, 3>> runs) {
  std::array<double, 3> out{};
  const auto middle = static_cast<std::ptrdiff_t>(runs.size() / 2);
  for (size_t p = 0; p < 3; ++p) {
    std::nth_element(runs.begin(), runs.begin() + middle, runs.end(),
                     [p](const auto& a, const auto& b) { return a[p] < b[p]; });
    out[p] = runs[static_cast<size_t>(middle)][p];
  }
  return out;
}

void bench_optimizer(const OptimizerOptions& o) {
  ThreadPool pool(o.threads);
  Tensor stored(
      o, {bench_format(o.weight), bench_format(o.grad), bench_format(o.moment1), bench_format(o.moment2)},
      pool);
  OptimizerOptions apart = o;
  apart.fused_copy = false;
  Tensor plain(apart, {Format::fp32, Format::fp32, Format::fp32, Format::fp32}, pool);
  DramMeter dram(pool);
  std::vector<std::array<double, 3>> stored_runs, plain_runs;
  std::vector<double> ratios, rates;
  double quickest = 1e30, plain_quickest = 1e30;  // single steps: what others on the machine cost least
  stored.step();
  plain.step();
  // Several steps in a row where one is short: what was in the caches then stays there.
  const int inner = std::max<int>(1, static_cast<int>((int64_t{1} << 24) / o.elements));
  const auto run = [&](Tensor& tensor, double& least) {
    tensor.step();
    std::array<double, 3> total{};
    for (int i = 0; i < inner; ++i) {
      const auto parts = tensor.step();
      least = std::min(least, sum(parts));
      for (size_t p = 0; p < 3; ++p) total[p] += parts[p] / inner;
    }
    return total;
  };
  for (int i = 0; i < o.reps; ++i) {
    plain_runs.push_back(run(plain, plain_quickest));
    stored_runs.push_back(run(stored, quickest));
    const double rate = dram.now();
    ratios.push_back(sum(plain_runs.back()) / sum(stored_runs.back()));
    rates.push_back(rate);
  }
  std::sort(ratios.begin(), ratios.end());
  std::sort(rates.begin(), rates.end());
  const double ratio = ratios[ratios.size() / 2], rate = rates[rates.size() / 2];
  const std::array<double, 3> mine = medians(stored_runs), theirs = medians(plain_runs);
  const double bandwidth = stored.traffic() / sum(mine), plain_bandwidth = plain.traffic() / sum(theirs);
  const std::string formats = fmt::format("{}/{}/{}/{}", o.weight, o.grad, o.moment1, o.moment2);
  bench_emit(
      o,
      {{"bench", "optimizer"},
       {"optimizer", o.optimizer},
       {"formats", formats},
       {"copy", o.copy},
       {"elements", o.elements},
       {"threads", pool.size()},
       {"amax_ms", mine[0] * 1e3},
       {"step_ms", mine[1] * 1e3},
       {"copy_ms", mine[2] * 1e3},
       {"fp32_step_ms", theirs[1] * 1e3},
       {"fp32_copy_ms", theirs[2] * 1e3},
       {"bytes_per_element", stored.traffic() / static_cast<double>(o.elements)},
       {"fp32_bytes_per_element", plain.traffic() / static_cast<double>(o.elements)},
       {"times_as_fast_as_fp32", ratio},
       {"quickest_ms", quickest * 1e3},
       {"fp32_quickest_ms", plain_quickest * 1e3},
       {"gbytes", bandwidth / 1e9},
       {"fp32_gbytes", plain_bandwidth / 1e9},
       {"dram_gbytes", rate / 1e9}},
      fmt::format("{} {}  amax {:.2f} + step {:.2f} + copy {:.2f} ms, {:.0f} bytes/element, {:.1f} GB/s = "
                  "{:.0f} % of a DRAM read ({:.1f})\n"
                  "fp32  step {:.2f} + copy {:.2f} ms, {:.0f} bytes/element, {:.1f} GB/s; {:.2f} times its "
                  "speed; quickest steps {:.2f} and {:.2f} ms: {:.2f} times",
                  o.optimizer, formats, mine[0] * 1e3, mine[1] * 1e3, mine[2] * 1e3,
                  stored.traffic() / static_cast<double>(o.elements), bandwidth / 1e9, 100 * bandwidth / rate,
                  rate / 1e9, theirs[1] * 1e3, theirs[2] * 1e3,
                  plain.traffic() / static_cast<double>(o.elements), plain_bandwidth / 1e9, ratio,
                  quickest * 1e3, plain_quickest * 1e3, plain_quickest / quickest));
}

}  // namespace

void add_bench_optimizer(CLI::App& bench) {
  auto o = std::make_shared<OptimizerOptions>();
  CLI::App* c = bench.add_subcommand(
      "optimizer", "A step on tensors kept in few bits, with fresh scales and the compute copy, beside FP32");
  c->add_option("--optimizer", o->optimizer, "adamw or lion")
      ->capture_default_str()
      ->check(CLI::IsMember({"adamw", "lion"}));
  c->add_option("--weight", o->weight, "Format of the master weights")->capture_default_str();
  c->add_option("--grad", o->grad, "Format of the gradients")->capture_default_str();
  c->add_option("--moment1", o->moment1, "Format of the first moment")->capture_default_str();
  c->add_option("--moment2", o->moment2, "Format of the second moment")->capture_default_str();
  c->add_option("--copy", o->copy, "Format of the copy that is made of the new weights")
      ->capture_default_str();
  c->add_option("--elements", o->elements, "Parameters")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  c->add_flag("--one-pass", o->one_pass,
              "The step fits the scales of the moments as it does that of the weights: no pass for amaxes");
  add_bench_options(c, *o);
  c->add_flag("--fused-copy", o->fused_copy,
              "The step makes the copy, too; FP32 keeps a pass of its own for it");
  c->footer("Example:\n  octavo bench optimizer --moment1 bf16 --elements 1048576 --threads 1");
  c->callback([o] { bench_optimizer(*o); });
}

}  // namespace octavo
