// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <vector>

namespace octavo {

/// Instruction sets the kernels are written for; each includes the ones before it.
enum class Isa { scalar, avx2, avx512, avx512bf16, amx };

const char* to_string(Isa isa);

/// The best set this CPU and operating system can run.
Isa cpu_isa();

/// cpu_isa() capped by the environment variable OCTAVO_MAX_ISA (scalar | avx2 | avx512 | avx512bf16 | amx).
/// Throws usage on an unknown word. Read once per process; tests may override it with set_max_isa.
Isa max_isa();
void set_max_isa(Isa isa);

/// "Intel(R) Xeon(R) Processor" and the like; "unknown" where /proc/cpuinfo has none.
std::string cpu_name();

/// Names of the features the kernels look at, present ones only ("avx2", "avx512_bf16", "amx_bf16", ...).
std::vector<std::string> cpu_features();

}  // namespace octavo
