// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/version.h"

#include "octavo_version.h"

namespace octavo {

const char* version() { return OCTAVO_VERSION; }
const char* commit() { return OCTAVO_COMMIT; }
const char* compiler() {
#if defined(__clang__)
  return "clang++ " __clang_version__;
#else
  return "g++ " __VERSION__;
#endif
}

}  // namespace octavo
