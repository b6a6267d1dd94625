// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "command.h"
#include "octavo/base/cpu.h"
#include "octavo/base/error.h"
#include "octavo/base/rng.h"
#include "octavo/base/version.h"
#include "octavo/comm/make_communicator.h"
#include "octavo/kernels/attention.h"
#include "octavo/kernels/gemm.h"
#include "octavo/kernels/peak.h"
#include "octavo/kernels/quantize.h"
#include "octavo/kernels/registry.h"
#include "octavo/numerics/encode.h"

namespace octavo {
namespace {

GemmArgs square(int64_t n, const std::vector<uint8_t>& codes, std::vector<float>& c, Format format) {
  GemmArgs args;
  args.m = args.n = args.k = n;
  args.a.data = args.b.data = codes.data();
  args.a.format = args.b.format = format;
  args.a.stride = args.b.stride = n;
  args.c = c.data();
  args.c_stride = n;
  return args;
}

// Small integers are exact in E4M3 and their sums in FP32: every GEMM kernel must give the same bits as the
// reference.
bool gemm_agrees(const std::string& variant, ThreadPool& pool) {
  constexpr int64_t n = 67;
  std::vector<uint8_t> codes(n * n);
  const Rng rng(7);
  for (size_t i = 0; i < codes.size(); ++i)
    codes[i] = static_cast<uint8_t>(encode(Format::e4m3,
                                           static_cast<float>(static_cast<int>(rng.integer(i) % 15) - 7),
                                           Rounding::nearest_even, Overflow::saturate));
  std::vector<float> got(n * n), expected(n * n);
  const auto compute = [&](const std::string& name, std::vector<float>& out) {
    const GemmArgs args = square(n, codes, out, Format::e4m3);
    Buffer memory(gemm_workspace_with(name, args, pool.size()));
    Workspace workspace(memory.data() ? memory.data() : &memory, memory.size());
    gemm_with(name, args, pool, workspace);
  };
  compute("ref", expected);
  compute(variant, got);
  return got == expected;
}

// Every BF16 value through the quantizer in use, against the format's definition.
bool quantize_agrees(Format format, ThreadPool& pool) {
  std::vector<uint16_t> x(1 << 16);
  for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<uint16_t>(i);
  std::vector<uint8_t> codes(x.size());
  QuantizeArgs args;
  args.x = dense(x.data(), Format::bf16, 256, 256);
  args.out.codes = dense(codes.data(), format, 256, 256);
  quantize(args, pool);
  for (size_t i = 0; i < x.size(); ++i) {
    const float value = decode(Format::bf16, x[i]);
    const uint32_t expected = encode(format, value, Rounding::nearest_even, Overflow::saturate);
    if (codes[i] != expected && !(std::isnan(value) && std::isnan(decode(format, codes[i])))) return false;
  }
  return true;
}

/// Which MPI plugins are there and can be opened here, and what this process was started by.
void ranks() {
  fmt::print("\nranks\n");
  for (const auto& [engine, name] :
       {std::pair(Engine::openmpi, "Open MPI"), std::pair(Engine::mpich, "MPICH")})
    fmt::print("  {:<12} {}\n", name, plugin_state(engine));
  std::string started;
  try {
    switch (engine_of_environment(std::getenv)) {
      case Engine::self:
        started = "no launcher, or for one process: train runs alone";
        break;
      case Engine::openmpi:
        started = "a launcher of Open MPI, as one of several ranks";
        break;
      case Engine::mpich:
        started = "a launcher of MPICH, as one of several ranks";
        break;
    }
  } catch (const Error& error) {
    started = fmt::format("what train refuses: {}", error.what());
  }
  fmt::print("  {:<12} {}\n", "started by", started);
}

void run(int threads) {
  ThreadPool pool(threads);
  fmt::print("octavo {} ({}, {})\n", version(), commit(), compiler());
  fmt::print("cpu      {}\n", cpu_name());
  fmt::print("features {}\n", fmt::join(cpu_features(), " "));
  fmt::print("isa      {}{}\n", to_string(max_isa()),
             max_isa() == cpu_isa()
                 ? ""
                 : fmt::format(" (capped by OCTAVO_MAX_ISA; this CPU has {})", to_string(cpu_isa())));
  fmt::print("threads  {}\n\nkernels\n", pool.size());
  std::vector<uint8_t> none;
  std::vector<float> nothing;
  for (const Format format : {Format::e4m3, Format::bf16, Format::fp32}) {
    const GemmChoice choice = gemm_choice(square(1024, none, nothing, format));
    fmt::print("  gemm {:<5}   {}\n", to_string(format), choice.variant);
    for (const std::string& reason : choice.refused) fmt::print("               not {}\n", reason);
  }
  AttentionShape shape;
  shape.q_len = shape.kv_len = 1024;
  shape.heads = shape.kv_heads = 12;
  shape.head_dim = 64;
  shape.scale = 0.125f;
  for (const Format format : {Format::bf16, Format::fp32})
    fmt::print("  attn {:<5}   {}\n", to_string(format), attention_variant(shape, format));
  for (const std::string& line : kernel_variants()) fmt::print("  rows         {}\n", line);

  fmt::print("\npeaks, measured now\n");
  for (const PeakKind kind : {PeakKind::fma_fp32, PeakKind::dot_bf16, PeakKind::amx_bf16}) {
    const double peak = peak_flops(kind, pool);
    fmt::print("  {:<12} {}\n", to_string(kind),
               peak > 0 ? fmt::format("{:.0f} GFLOP/s", peak / 1e9) : "not on this CPU");
  }
  fmt::print("  {:<12} {:.1f} GB/s\n", "dram read", peak_dram_read(pool) / 1e9);

  ranks();

  fmt::print("\nself-test\n");
  bool good = true;
  const auto check = [&](const std::string& name, bool holds) {
    fmt::print("  {:<28} {}\n", name, holds ? "ok" : "FAILED");
    good = good && holds;
  };
  for (const std::string& variant : gemm_variants()) check("gemm " + variant, gemm_agrees(variant, pool));
  for (const Format format : {Format::e4m3, Format::e5m2, Format::e4m3fnuz, Format::e5m2fnuz})
    check(fmt::format("quantize to {}", to_string(format)), quantize_agrees(format, pool));
  if (!good) {
    fmt::print(
        "a kernel disagrees with its reference on this machine; OCTAVO_MAX_ISA=avx2 (or scalar) avoids it\n");
    exit_status() = static_cast<int>(ExitCode::check_failed);
  }
}

}  // namespace

void add_doctor(CLI::App& app) {
  CLI::App* c = app.add_subcommand(
      "doctor", "What this machine has, which kernels were chosen and why, and a self-test");
  auto threads = std::make_shared<int>(0);
  c->add_option("--threads", *threads, "CPU threads, 0 = all")->capture_default_str();
  c->footer("Examples:\n  octavo doctor\n  OCTAVO_MAX_ISA=avx2 octavo doctor");
  c->callback([threads] { run(*threads); });
}

}  // namespace octavo
