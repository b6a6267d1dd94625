// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/registry.h"

#include "octavo/kernels/ref/rows_ref.h"

namespace octavo {

#ifdef OCTAVO_HAVE_X86_KERNELS
namespace avx2 {
extern const RowKernels kRowKernels;
}
namespace avx512 {
extern const RowKernels kRowKernels;
}
#endif

namespace {

struct Variant {
  Isa isa;
  const RowKernels* kernels;
};

/// Best first; the last one always runs.
constexpr Variant kVariants[] = {
#ifdef OCTAVO_HAVE_X86_KERNELS
    {Isa::avx512, &avx512::kRowKernels},
    {Isa::avx2, &avx2::kRowKernels},
#endif
    {Isa::scalar, &kRowKernelsRef},
};

}  // namespace

const RowKernels& row_kernels() {
  const Isa allowed = max_isa();
  for (const Variant& variant : kVariants)
    if (variant.isa <= allowed) return *variant.kernels;
  return kRowKernelsRef;
}

std::vector<std::string> kernel_variants() {
  std::vector<std::string> lines;
  bool chosen = false;
  for (const Variant& variant : kVariants) {
    std::string line = variant.kernels->name;
    const std::string isa = to_string(variant.isa);
    if (variant.isa > cpu_isa())
      line += " (not used: this CPU or operating system has no " + isa + ")";
    else if (variant.isa > max_isa())
      line += std::string(" (not used: OCTAVO_MAX_ISA allows ") + to_string(max_isa()) + " at most)";
    else if (chosen)
      line += " (not used: a better one runs)";
    else
      chosen = true;
    lines.push_back(line);
  }
  return lines;
}

}  // namespace octavo
