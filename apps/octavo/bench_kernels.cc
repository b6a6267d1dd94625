// SPDX-License-Identifier: Apache-2.0
// Single kernels: matrix products, casts, products with a vector.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <memory>

#include "bench.h"
#include "octavo/base/error.h"
#include "octavo/kernels/gemm.h"
#include "octavo/kernels/peak.h"
#include "octavo/kernels/quantize.h"

namespace octavo {
namespace {

// --- gemm ---

struct GemmOptions : BenchOptions {
  std::string shapes = "1024x1024x1024,2048x2048x2048,2048x3072x768,2048x768x3072", layouts = "tn,nn,nt",
              types = "e4m3xe4m3,bf16xbf16,fp32xfp32", output = "fp32", variant;
};

struct Shape {
  int64_t m, n, k;
};
Shape shape_of(const std::string& text) {
  const std::vector<std::string> parts = split_list(text, 'x');
  Shape s{};
  int64_t* fields[] = {&s.m, &s.n, &s.k};
  bool good = parts.size() == 3;
  for (size_t i = 0; good && i < 3; ++i) {
    const auto [end, error] = std::from_chars(parts[i].data(), parts[i].data() + parts[i].size(), *fields[i]);
    good = error == std::errc() && end == parts[i].data() + parts[i].size() && *fields[i] > 0 &&
           *fields[i] <= 1 << 20;
  }
  if (!good)
    fail_usage(fmt::format("--shapes: '{}' is not a problem, expected MxNxK such as 2048x3072x768", text));
  return s;
}

void bench_gemm(const GemmOptions& o) {
  ThreadPool pool(o.threads);
  for (const std::string& shape_text : split_list(o.shapes, ',')) {
    const Shape s = shape_of(shape_text);
    for (const std::string& types : split_list(o.types, ',')) {
      const std::vector<std::string> pair = split_list(types, 'x');
      if (pair.size() != 2)
        fail_usage(fmt::format("--types: '{}' is not a pair, expected AxB such as e5m2xe4m3", types));
      for (const std::string& layout : split_list(o.layouts, ',')) {
        if (layout != "tn" && layout != "nn" && layout != "nt")
          fail_usage(fmt::format("--layouts: '{}' is unknown; tn is the forward product, nn dgrad, nt wgrad",
                                 layout));
        GemmArgs args;
        args.m = s.m;
        args.n = s.n;
        args.k = s.k;
        args.a.format = bench_format(pair[0]);
        args.b.format = bench_format(pair[1]);
        args.a.k_contiguous = layout != "nt";
        args.b.k_contiguous = layout == "tn";
        args.a.stride = args.a.k_contiguous ? s.k : s.m;
        args.b.stride = args.b.k_contiguous ? s.k : s.n;
        args.c_format = bench_format(o.output);
        args.c_stride = s.n;
        const Buffer a = random_matrix(s.m * s.k, args.a.format, 1),
                     b = random_matrix(s.n * s.k, args.b.format, 2);
        const Buffer c(static_cast<size_t>(s.m * s.n * bytes(args.c_format)));
        args.a.data = a.data();
        args.b.data = b.data();
        args.c = c.data();
        const std::string variant = o.variant.empty() ? gemm_choice(args).variant : o.variant;
        const Buffer scratch(gemm_workspace_with(variant, args, pool.size()) + 64);
        Workspace workspace(scratch.data(), scratch.size());

        UnitPeak peak(variant, pool);
        const double work =
            2.0 * static_cast<double>(s.m) * static_cast<double>(s.n) * static_cast<double>(s.k);
        const BenchTiming time = bench_against(
            o.reps, work, [&] { return peak.now(); }, [&] { gemm_with(variant, args, pool, workspace); });
        const double flops = work / time.median;
        nlohmann::ordered_json j{{"bench", "gemm"},
                                 {"shape", shape_text},
                                 {"layout", layout},
                                 {"types", types},
                                 {"variant", variant},
                                 {"threads", pool.size()},
                                 {"gflops", flops / 1e9},
                                 {"peak", peak.name()},
                                 {"peak_gflops", time.limit / 1e9},
                                 {"ratio_to_peak", time.ratio},
                                 {"median_ms", time.median * 1e3},
                                 {"spread", time.spread}};
        bench_emit(o, j,
                   fmt::format("{:<18} {} {:<12} {:<11} {:8.1f} GFLOP/s  {:5.1f} % of {} ({:.0f})  {:.3f} ms "
                               "±{:.0f} %",
                               shape_text, layout, types, variant, flops / 1e9, 100 * time.ratio, peak.name(),
                               time.limit / 1e9, time.median * 1e3, 50 * time.spread));
      }
    }
  }
}

// --- cast ---

struct CastOptions : BenchOptions {
  std::string types = "fp32:e4m3,bf16:e4m3,bf16:e5m2";
  int64_t elements = int64_t{1} << 27;
};

void bench_cast(const CastOptions& o) {
  ThreadPool pool(o.threads);
  for (const std::string& types : split_list(o.types, ',')) {
    const std::vector<std::string> pair = split_list(types, ':');
    if (pair.size() != 2)
      fail_usage(fmt::format("--types: '{}' is not a cast, expected FROM:TO such as bf16:e4m3", types));
    const Format from = bench_format(pair[0]), to = bench_format(pair[1]);
    const int64_t cols = 4096, rows = std::max<int64_t>(1, o.elements / cols);
    const Buffer x = random_matrix(rows * cols, from, 3), codes(static_cast<size_t>(rows * cols * bytes(to)));
    const float scale = 1.0f / 64;
    float largest = 0;
    QuantizeArgs args;
    args.x = dense(x.data(), from, rows, cols);
    args.out.codes = dense(codes.data(), to, rows, cols);
    args.out.scale = &scale;
    args.amax = &largest;
    DramMeter dram(pool);
    const double work = static_cast<double>(rows * cols * (bytes(from) + bytes(to)));
    const BenchTiming time = bench_against(
        o.reps, work, [&] { return dram.now(); }, [&] { quantize(args, pool); });
    const double rate = work / time.median;
    nlohmann::ordered_json j{{"bench", "cast"},
                             {"types", types},
                             {"elements", rows * cols},
                             {"threads", pool.size()},
                             {"gbytes", rate / 1e9},
                             {"dram_gbytes", time.limit / 1e9},
                             {"ratio_to_dram", time.ratio},
                             {"median_ms", time.median * 1e3},
                             {"spread", time.spread}};
    bench_emit(
        o, j,
        fmt::format("cast {:<12} {:7.1f} GB/s read + written, {:5.1f} % of a plain DRAM read ({:.1f})  "
                    "{:.2f} ms ±{:.0f} %",
                    types, rate / 1e9, 100 * time.ratio, time.limit / 1e9, time.median * 1e3,
                    50 * time.spread));
  }
}

// --- gemv ---

struct GemvOptions : BenchOptions {
  std::string shapes = "8192x2048,2048x8192,32000x4096", types = "e4m3,bf16";
  int64_t batch = 1;
};

void bench_gemv(const GemvOptions& o) {
  ThreadPool pool(o.threads);
  for (const std::string& shape_text : split_list(o.shapes, ',')) {
    const Shape s = shape_of(fmt::format("{}x{}", o.batch, shape_text));
    for (const std::string& type : split_list(o.types, ',')) {
      // Copies of the weights in turn, so that each comes from memory and not from a cache.
      constexpr int64_t kFromMemory = int64_t{512} << 20;
      GemmArgs args;
      args.m = s.m;
      args.n = s.n;
      args.k = s.k;
      args.b.format = bench_format(type);
      args.a.format = args.b.format == Format::fp32 ? Format::fp32 : Format::bf16;
      args.a.stride = args.b.stride = s.k;
      args.c_stride = s.n;
      const int64_t weights = s.n * s.k * bytes(args.b.format),
                    copies = (kFromMemory + weights - 1) / weights;
      const Buffer a = random_matrix(s.m * s.k, args.a.format, 1),
                   first = random_matrix(s.n * s.k, args.b.format, 2),
                   b(static_cast<size_t>(copies * weights));
      for (int64_t i = 0; i < copies; ++i)
        std::memcpy(b.as<char>() + i * weights, first.data(), static_cast<size_t>(weights));
      const Buffer c(static_cast<size_t>(s.m * s.n) * sizeof(float));
      args.a.data = a.data();
      args.b.data = b.data();
      args.c = c.data();
      const Buffer scratch(gemm_workspace(args, pool.size()) + 64);
      Workspace workspace(scratch.data(), scratch.size());
      int64_t turn = 0;
      DramMeter dram(pool);
      const BenchTiming time = bench_against(
          o.reps, static_cast<double>(weights), [&] { return dram.now(); },
          [&] {
            args.b.data = static_cast<const char*>(b.data()) + turn++ % copies * weights;
            gemm(args, pool, workspace);
          });
      const double rate = static_cast<double>(weights) / time.median;
      nlohmann::ordered_json j{{"bench", "gemv"},
                               {"shape", shape_text},
                               {"batch", s.m},
                               {"types", type},
                               {"variant", gemm_choice(args).variant},
                               {"threads", pool.size()},
                               {"gbytes", rate / 1e9},
                               {"dram_gbytes", time.limit / 1e9},
                               {"ratio_to_dram", time.ratio},
                               {"rows_per_second", static_cast<double>(s.n) / time.median},
                               {"median_ms", time.median * 1e3},
                               {"spread", time.spread}};
      bench_emit(
          o, j,
          fmt::format("gemv {:<12} {:<5} {:7.1f} GB/s, {:5.1f} % of a plain DRAM read ({:.1f})  {:.3g} "
                      "rows/s  {:.3f} ms ±{:.0f} %",
                      shape_text, type, rate / 1e9, 100 * time.ratio, time.limit / 1e9,
                      static_cast<double>(s.n) / time.median, time.median * 1e3, 50 * time.spread));
    }
  }
}

}  // namespace

void add_bench_kernels(CLI::App& bench) {
  auto g = std::make_shared<GemmOptions>();
  CLI::App* gemm_command = bench.add_subcommand("gemm", "Matrix products in the three layouts of training");
  gemm_command->add_option("--shapes", g->shapes, "Problems MxNxK, comma-separated")->capture_default_str();
  gemm_command->add_option("--layouts", g->layouts, "tn (forward), nn (dgrad), nt (wgrad)")
      ->capture_default_str();
  gemm_command->add_option("--types", g->types, "Pairs of operand formats")->capture_default_str();
  gemm_command->add_option("--output", g->output, "Format of the result: fp32 or bf16")
      ->capture_default_str();
  gemm_command->add_option("--variant", g->variant,
                           "This kernel instead of the best one (octavo doctor lists them)");
  add_bench_options(gemm_command, *g);
  gemm_command->footer(
      "Example:\n  octavo bench gemm --shapes 2048x2048x2048 --layouts tn,nn,nt --types e4m3xe4m3 --json");
  gemm_command->callback([g] { bench_gemm(*g); });

  auto q = std::make_shared<CastOptions>();
  CLI::App* cast = bench.add_subcommand("cast", "Quantization with amax, from memory to memory");
  cast->add_option("--types", q->types, "FROM:TO, comma-separated")->capture_default_str();
  cast->add_option("--elements", q->elements, "Size of the problem")->capture_default_str();
  add_bench_options(cast, *q);
  cast->footer("Example:\n  octavo bench cast --types bf16:e4m3,bf16:e5m2 --elements 16777216");
  cast->callback([q] { bench_cast(*q); });

  auto v = std::make_shared<GemvOptions>();
  CLI::App* gemv =
      bench.add_subcommand("gemv", "Weights times few rows, as in generation: the weights come from memory");
  gemv->add_option("--shapes", v->shapes, "Weights NxK, comma-separated")->capture_default_str();
  gemv->add_option("--types", v->types, "Formats of the weights")->capture_default_str();
  gemv->add_option("--batch", v->batch, "Rows multiplied with the weights")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  add_bench_options(gemv, *v);
  gemv->footer("Example:\n  octavo bench gemv --shapes 8192x2048 --types e4m3,bf16 --json");
  gemv->callback([v] { bench_gemv(*v); });
}

}  // namespace octavo
