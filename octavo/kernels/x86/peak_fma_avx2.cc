// SPDX-License-Identifier: Apache-2.0
#include "octavo/kernels/peak_loops.h"

namespace octavo {

// Assembly, so that the sums stay in registers whatever the compiler thinks of a loop without effect.
double peak_loop_fma_avx2(int64_t rounds) {
  int64_t left = rounds;
  __asm__ volatile(
      ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11, 14, 15\n"
      "vpxor %%ymm\\r, %%ymm\\r, %%ymm\\r\n"
      ".endr\n"
      "1:\n"
      ".irp r, 0,1,2,3,4,5,6,7,8,9,10,11\n"
      "vfmadd231ps %%ymm14, %%ymm15, %%ymm\\r\n"
      ".endr\n"
      "dec %0\n"
      "jnz 1b\n"
      : "+r"(left)
      :
      : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
        "xmm11", "xmm14", "xmm15");
  return static_cast<double>(rounds) * 12 * 16;
}

}  // namespace octavo
