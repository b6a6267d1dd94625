// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/cpu.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>

#include "octavo/base/error.h"
#include "octavo/base/suggest.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace octavo {
namespace {

struct Features {
  bool avx2 = false, fma = false, f16c = false, avx512 = false, vbmi = false, bf16 = false, amx = false;
};

#if defined(__x86_64__)
// Linux hands out the AMX tile registers only on request (arch/x86 xstate: XTILEDATA is component 18).
bool request_amx() {
  constexpr long kArchReqXcompPerm = 0x1023, kXtileData = 18;
  return ::syscall(SYS_arch_prctl, kArchReqXcompPerm, kXtileData) == 0;
}

Features detect() {
  Features f;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return f;
  const bool osxsave = c & (1u << 27);
  f.fma = c & (1u << 12);
  f.f16c = c & (1u << 29);
  if (!osxsave) return f;
  unsigned lo = 0, hi = 0;
  __asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
  const bool os_avx = (lo & 0x6) == 0x6;
  const bool os_avx512 = (lo & 0xe6) == 0xe6;
  const bool os_amx = (lo & 0x60000) == 0x60000;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
  f.avx2 = os_avx && (b & (1u << 5));
  const unsigned f_dq_bw_vl = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31);
  f.avx512 = os_avx512 && (b & f_dq_bw_vl) == f_dq_bw_vl;
  f.vbmi = f.avx512 && (c & (1u << 1));
  const bool tile = (d & (1u << 24)) && (d & (1u << 22));
  if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) f.bf16 = f.avx512 && (a & (1u << 5));
  f.amx = os_amx && tile && request_amx();
  return f;
}
#else
Features detect() { return {}; }
#endif

const Features& features() {
  static const Features f = detect();
  return f;
}

Isa isa_from_environment() {
  const char* text = std::getenv("OCTAVO_MAX_ISA");
  if (!text || !*text) return cpu_isa();
  const std::vector<std::string> names{"scalar", "avx2", "avx512", "avx512bf16", "amx"};
  for (size_t i = 0; i < names.size(); ++i)
    if (names[i] == text) return std::min(cpu_isa(), static_cast<Isa>(i));
  fail_usage(std::string("OCTAVO_MAX_ISA='") + text + "' is not an instruction set" +
             did_you_mean(text, names));
}

Isa& capped() {
  static Isa isa = isa_from_environment();
  return isa;
}

}  // namespace

const char* to_string(Isa isa) {
  switch (isa) {
    case Isa::scalar:
      return "scalar";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::avx512bf16:
      return "avx512bf16";
    case Isa::amx:
      return "amx";
  }
  return "?";
}

Isa cpu_isa() {
  const Features& f = features();
  if (f.amx && f.bf16 && f.vbmi) return Isa::amx;
  if (f.bf16 && f.vbmi) return Isa::avx512bf16;
  if (f.avx512) return Isa::avx512;
  if (f.avx2 && f.fma && f.f16c) return Isa::avx2;
  return Isa::scalar;
}

Isa max_isa() { return capped(); }
void set_max_isa(Isa isa) { capped() = std::min(isa, cpu_isa()); }

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) != 0) continue;
    const size_t colon = line.find(": ");
    if (colon != std::string::npos) return line.substr(colon + 2);
  }
  return "unknown";
}

std::vector<std::string> cpu_features() {
  const Features& f = features();
  std::vector<std::string> names;
  if (f.avx2) names.push_back("avx2");
  if (f.fma) names.push_back("fma");
  if (f.f16c) names.push_back("f16c");
  if (f.avx512) names.push_back("avx512f/dq/bw/vl");
  if (f.vbmi) names.push_back("avx512_vbmi");
  if (f.bf16) names.push_back("avx512_bf16");
  if (f.amx) names.push_back("amx_bf16");
  return names;
}

}  // namespace octavo
