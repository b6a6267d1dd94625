// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/checksum.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace octavo {

uint64_t checksum64(const void* data, size_t bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

}  // namespace octavo
