// SPDX-License-Identifier: Apache-2.0
// The register-only loops behind peak.h. Each returns the operations it did; `rounds` scales the time.
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

double peak_loop_fma_avx2(int64_t rounds);
double peak_loop_fma_avx512(int64_t rounds);
double peak_loop_dot_avx512bf16(int64_t rounds);
double peak_loop_amx(int64_t rounds);

}  // namespace octavo
