// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>

namespace octavo {

/// XXH3, 64 bits. Not cryptographic: it finds damage, not malice.
uint64_t checksum64(const void* data, size_t bytes, uint64_t seed = 0);

}  // namespace octavo
