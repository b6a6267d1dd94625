// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace octavo {

/// The most memory this process ever held resident, in bytes (Linux: VmHWM); 0 where the system does not say.
int64_t peak_resident_bytes();

}  // namespace octavo
