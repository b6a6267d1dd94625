// SPDX-License-Identifier: Apache-2.0
#include "octavo/base/process.h"

#include <fstream>
#include <string>

namespace octavo {

int64_t peak_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (line.rfind("VmHWM:", 0) == 0) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

}  // namespace octavo
