// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/gemm.h"

#include <memory>
#include <stdexcept>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"
#include "octavo/kernels/gemm_internal.h"
#include "octavo/numerics/decode.h"

namespace octavo {
namespace {

struct Variant {
  const char* name;
  Isa isa;
  const char* feature;  // what a CPU below `isa` lacks
  bool fp32_operands;
  const GemmKernel* kernel;  // nullptr: the reference
};

// Best first. AVX512_BF16 stands before FP32 FMA for CPUs without AMX: Zen 5 does twice the work with it. The
// one Intel CPU measured (with AMX) runs VDPBF16PS at half the rate of FMA, and AMX at fifteen times the rate
// of FMA.
constexpr Variant kVariants[] = {
#if defined(OCTAVO_HAVE_X86_KERNELS)
    {"amx", Isa::amx, "AMX_BF16", false, &kGemmAmx},
    {"avx512bf16", Isa::avx512bf16, "AVX512_BF16", false, &kGemmAvx512Bf16},
    {"avx512", Isa::avx512, "AVX-512", true, &kGemmAvx512},
    {"avx2", Isa::avx2, "AVX2 and FMA", true, &kGemmAvx2},
#endif
    {"ref", Isa::scalar, "", true, nullptr},
};

bool operand_supported(Format format) {
  return format == Format::fp32 || format == Format::bf16 || (bytes(format) == 1 && format != Format::e8m0);
}

void check(const GemmArgs& args) {
  for (const GemmOperand* operand : {&args.a, &args.b})
    if (!operand_supported(operand->format))
      fail_unsupported("gemm: no kernel reads " + std::string(to_string(operand->format)) +
                       " operands (expected fp32, bf16 or an FP8 format)");
  if ((args.a.format == Format::fp32) != (args.b.format == Format::fp32))
    fail_unsupported("gemm: operands are " + std::string(to_string(args.a.format)) + " and " +
                     std::string(to_string(args.b.format)) + " (expected both fp32, or neither)");
  if (args.codes.codes.data &&
      (args.accumulate || args.codes.codes.rows != args.m || args.codes.codes.cols != args.n))
    throw std::logic_error("gemm: codes are those of the whole result, and nothing can be added to them");
  if (args.c_format != Format::fp32 && args.c_format != Format::bf16)
    fail_unsupported("gemm: the result cannot be " + std::string(to_string(args.c_format)) +
                     " (expected fp32 or bf16)");
  const auto shorter = [&](const GemmOperand& x, int64_t rows) {
    return x.stride < (x.k_contiguous ? args.k : rows);
  };
  if (args.m < 0 || args.n < 0 || args.k < 0 || shorter(args.a, args.m) || shorter(args.b, args.n) ||
      (!args.codes.codes.data && args.c_stride < args.n))
    throw std::logic_error("gemm: a size is negative or a stride is shorter than its row");
}

/// Why `v` cannot run this, or nothing.
std::string refusal(const Variant& v, const GemmArgs& args) {
  if (v.isa > cpu_isa()) return std::string("this CPU has no ") + v.feature;
  if (v.isa > max_isa()) return std::string("instruction sets are capped at ") + to_string(max_isa());
  if (!v.fp32_operands && args.a.format == Format::fp32) return "it does not read fp32 operands";
  return "";
}

const Variant& choose(const GemmArgs& args) {
  for (const Variant& v : kVariants)
    if (refusal(v, args).empty()) return v;
  throw std::logic_error("gemm: the reference refused");
}

const Variant& named(const std::string& name, const GemmArgs& args) {
  std::vector<std::string> names;
  for (const Variant& v : kVariants) {
    names.push_back(v.name);
    if (v.name != name) continue;
    const std::string reason = refusal(v, args);
    if (!reason.empty()) fail_unsupported("gemm variant " + name + ": " + reason);
    return v;
  }
  fail_usage("'" + name + "' is not a gemm variant" + did_you_mean(name, names));
}

size_t workspace_of(const Variant& v, const GemmArgs& args, int threads) {
  if (!v.kernel) return 0;
  return gemm_skinny_takes(*v.kernel, args) ? gemm_skinny_workspace(*v.kernel, args, threads)
                                            : gemm_blocked_workspace(*v.kernel, args, threads);
}

void run(const Variant& v, const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  if (args.m == 0 || args.n == 0) return;
  if (v.kernel && gemm_skinny_takes(*v.kernel, args))
    gemm_skinny(*v.kernel, args, pool, workspace);
  else if (v.kernel)
    gemm_blocked(*v.kernel, args, pool, workspace);
  else if (!workspace.planning())
    gemm_ref(args, pool);
}

GemmDecode make_decode(Format format) {
  GemmDecode d;
  for (uint32_t code = 0; code < 256; ++code) {
    d.value[code] = decode(format, code);
    if (code >= 128) continue;
    const uint32_t bf16 = float_bits(d.value[code]) >> 16;
    d.low[code] = static_cast<uint8_t>(bf16);
    d.high[code] = static_cast<uint8_t>(bf16 >> 8);
  }
  d.nan_is_negative_zero = !spec(format).has_negative_zero;
  return d;
}

}  // namespace

const GemmDecode& gemm_decode(Format format) {
  static const GemmDecode e4m3 = make_decode(Format::e4m3), e5m2 = make_decode(Format::e5m2);
  static const GemmDecode e4m3fnuz = make_decode(Format::e4m3fnuz), e5m2fnuz = make_decode(Format::e5m2fnuz);
  switch (format) {
    case Format::e4m3:
      return e4m3;
    case Format::e5m2:
      return e5m2;
    case Format::e4m3fnuz:
      return e4m3fnuz;
    default:
      return e5m2fnuz;
  }
}

size_t gemm_workspace(const GemmArgs& args, int threads) {
  check(args);
  if (args.fp16_sums != Fp16Sums::none) return gemm_fp16_workspace(threads);
  return workspace_of(choose(args), args, threads);
}

void gemm(const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  check(args);
  if (args.fp16_sums != Fp16Sums::none)
    gemm_fp16(args, pool, workspace);
  else
    run(choose(args), args, pool, workspace);
}

size_t gemm_packed_bytes(const GemmArgs& args) {
  const Variant& v = choose(args);
  return v.kernel ? gemm_blocked_packed_bytes(*v.kernel, args) : 0;
}

void gemm_pack_b(const GemmArgs& args, void* out, ThreadPool& pool) {
  const Variant& v = choose(args);
  if (v.kernel) gemm_blocked_pack_b(*v.kernel, args, out, pool);
}

GemmChoice gemm_choice(const GemmArgs& args) {
  check(args);
  GemmChoice choice;
  if (args.fp16_sums != Fp16Sums::none) {
    choice.variant = "fp16";
    return choice;
  }
  for (const Variant& v : kVariants) {
    const std::string reason = refusal(v, args);
    if (reason.empty()) {
      choice.variant = v.name;
      break;
    }
    choice.refused.push_back(std::string(v.name) + ": " + reason);
  }
  return choice;
}

std::vector<std::string> gemm_variants() {
  std::vector<std::string> names;
  for (const Variant& v : kVariants)
    if (v.isa <= max_isa()) names.push_back(v.name);
  return names;
}

void gemm_with(const std::string& variant, const GemmArgs& args, ThreadPool& pool, Workspace& workspace) {
  check(args);
  run(named(variant, args), args, pool, workspace);
}

size_t gemm_workspace_with(const std::string& variant, const GemmArgs& args, int threads) {
  check(args);
  return workspace_of(named(variant, args), args, threads);
}

}  // namespace octavo
